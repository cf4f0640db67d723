"""Contexts, ports and doorbells of an xHCI host, by kernel."""

from __future__ import annotations

import pytest

from tests.support.text_records import evaluate, make, show
from tracekit.ftrace.context import Context

BUFFER = "__get_buf(500), "
PLACES = ("", "__get_str(str), ", BUFFER)


def test_rings():
    names = [evaluate(f"xhci_ring_type_string({n})", "%s") for n in (0, 5, 6, 7, -1)]
    assert names == ["CTRL", "CMD", "EVENT", "UNKNOWN", "UNKNOWN"]


SLOTS = [
    ("0x08300000, 0x00050000, 0, 0x10000001",
     "RS 00000 high-speed Ctx Entries 1 MEL 0 us Port# 5/0 "
     "[TT Slot 0 Port# 0 TTT 0 Intr 0] Addr 1 State addressed"),
    ("0x1e100042, 0x04020100, 0x00c10302, 0x18000007",
     "RS 00042 full-speed multi-TT Hub Ctx Entries 3 MEL 256 us Port# 2/4 "
     "[TT Slot 2 Port# 3 TTT 1 Intr 3] Addr 7 State configured"),
    ("0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff",
     "RS fffff UNKNOWN speed multi-TT Hub Ctx Entries 31 MEL 65535 us Port# 255/255 "
     "[TT Slot 255 Port# 255 TTT 3 Intr 1023] Addr 255 State reserved"),
]  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("words", "expected"), SLOTS)
def test_slot_contexts(words, expected, place):
    assert evaluate(f"xhci_decode_slot_context({place}{words})", "%s") == expected


ENDPOINTS = [
    ("0x00030001, 0x00400026, 0x10abc1001, 8",
     "State running mult 1 max P. Streams 0 interval 1000 us max ESIT payload 0 CErr 3 "
     "Type Ctrl burst 0 maxp 64 deq 000000010abc1001 avg trb len 8"),
    ("0x01000203, 0x04000a9e, 0, 0x0c000c00",
     "State stopped mult 3 max P. Streams 0 interval 125 us max ESIT payload 68608 CErr 3 "
     "Type Int OUT HIDburst 10 maxp 1024 deq 0000000000000000 avg trb len 3072"),
    ("0x00230007, 0, 0, 0",  # the CPU shifts by five bits of 35
     "State INVALID mult 1 max P. Streams 0 interval 1000 us max ESIT payload 0 CErr 0 "
     "Type INVALID burst 0 maxp 0 deq 0000000000000000 avg trb len 0"),
]  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("words", "expected"), ENDPOINTS)
def test_endpoint_contexts(words, expected, place):
    assert evaluate(f"xhci_decode_ep_context({place}{words})", "%s") == expected


@pytest.mark.parametrize(
    ("place", "release", "streams"),
    [
        ("", "", "(?4) (?LSA )"),
        ("", "4.12.1", "(?4) (?LSA )"),
        ("", "4.14.1", "4 LSA "),
        (BUFFER, "", "4 LSA "),
    ],
)
def test_streams_of_an_endpoint_are_printed_since_4_14(place, release, streams):
    fmt = make(f'"%s", xhci_decode_ep_context({place}0x9001, 0x36, 0, 0)')
    assert show(fmt, b"", Context(release=release)).startswith(
        f"State running mult 1 max P. Streams {streams}interval 125 us "
    )


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("0, 3", "Add: slot ep0"),
        ("8, 0xd", "Drop: 1in, Add: slot 1out 1in"),
        ("0x80000000, 0", "Drop: 15in, "),
    ],
)
def test_control_contexts(flags, expected):
    for place in PLACES:
        assert evaluate(f"xhci_decode_ctrl_ctx({place}{flags})", "%s") == expected


def test_no_flags_print_nothing_or_what_was_printed_before():
    texts = [evaluate(f"xhci_decode_ctrl_ctx({place}0, 0)", "%s") for place in PLACES]
    assert texts == ["(?xhci_decode_ctrl_ctx(0, 0))", "", ""]


# -- ports ------------------------------------------------------------------------------------

PORTS = [  # words, as before 6.19; and short, since: the first two are from the kernel's change
    (0x00201201, "Powered Connected Disabled Link:U0 PortSpeed:4 Change: PRC Wake: ",
     "Speed=4 Link=U0 CCS PP PRC "),
    (0x0A0002A0, "Powered Not-connected Disabled Link:RxDetect PortSpeed:0 Change: Wake: WCE WOE ",
     "Speed=0 Link=RxDetect PP WCE WOE "),
    (0x000202E1, "Powered Connected Disabled Link:Polling PortSpeed:0 Change: CSC Wake: ",
     "Speed=0 Link=Polling CCS PP CSC "),
    (0x00020EE1, "Powered Connected Disabled Link:Polling PortSpeed:3 Change: CSC Wake: ",
     "Speed=3 Link=Polling CCS PP CSC "),
    (0x00000E03, "Powered Connected Enabled Link:U0 PortSpeed:3 Change: Wake: ",
     "Speed=3 Link=U0 CCS PP PED "),
    (0, "Powered-off Not-connected Disabled Link:U0 PortSpeed:0 Change: Wake: ",
     "Speed=0 Link=U0 "),
    (0xC7FF0198, "Powered-off Not-connected Disabled Link:Unknown PortSpeed:0 OverCurrent "
     "In-Reset Change: CSC PEC WRC OCC PRC PLC CEC CAS Wake: WCE WDE ",
     "Speed=0 Link=Unknown OCA CAS DR WCE WDE LWS PR WPR CSC PEC WRC OCC PRC PLC CEC "),
]  # fmt: skip


def port(portsc: int, release: str = "", place: str = BUFFER, *fields: str) -> str:
    fmt = make(f'"%s", xhci_decode_portsc({place}REC->portsc)', "u32 portsc@8:4", *fields)
    return show(fmt, portsc.to_bytes(4, "little") + bytes(4), Context(release=release))


@pytest.mark.parametrize(("portsc", "words", "short"), PORTS)
def test_ports(portsc, words, short):
    bus = "u32 busnum@12:4"
    assert port(portsc, "", "__get_str(str), ") == words
    assert port(portsc) == words
    assert port(portsc, "6.8.0", BUFFER, bus) == words
    assert port(portsc, "6.12.118+deb13-amd64", BUFFER, bus) == f"0x{portsc:08x} {words}"
    assert port(portsc, "6.18.3", BUFFER, bus) == f"0x{portsc:08x} {words}"
    assert port(portsc, "7.3.4+deb13-amd64", BUFFER, bus) == f"0x{portsc:08x} {short}"


def test_ports_of_unknown_kernels():
    bus = "u32 busnum@12:4"
    assert port(1, "", BUFFER, bus) == "(?xhci_decode_portsc(1))"
    assert port(1, "unknown", BUFFER, bus) == "(?xhci_decode_portsc(1))"
    start = "Powered-off Connected Disabled Link:U0 "
    assert port(1, "", "") == f"{start}(?PortSpeed:0 )Change: Wake: "
    assert port(1, "4.14.9", "") == f"{start}Change: Wake: "
    assert port(1, "5.10.43", "") == f"{start}PortSpeed:0 Change: Wake: "


def test_a_host_that_is_gone():
    bus = "u32 busnum@12:4"
    for release in ("6.12.1", "6.19.0"):
        assert port(0xFFFFFFFF, release, BUFFER, bus) == "0xffffffff "
    assert "Powered Connected Enabled Link:Resume PortSpeed:15 " in port(0xFFFFFFFF)


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ("0, 0", "Command Ring 0"),
        ("0, 0x80000000", "Command Ring -2147483648"),
        ("1, 1", "Slot 1 ep0in"),
        ("2, 4", "Slot 2 ep2out"),
        ("1, 31", "Slot 1 ep15in"),
        ("1, 0", "Slot 1 Reserved 0"),
        ("1, 0x20", "Slot 1 Reserved 32"),
        ("1, 247", "Slot 1 Reserved 247"),
        ("1, 248", "Slot 1 Vendor Defined 248"),
        ("1, 0x00050003", "Slot  Stream 5"),  # the kernel loses where it is
        ("1, 0x00050004", "Slot 1 Stream 5"),
        ("1, 0xffff0000", "Slot 1 Res Stream 65535"),
        ("0xffffffff, 3", "Slot -1 ep1in"),
    ],
)
def test_doorbells(numbers, expected):
    for place in PLACES:
        assert evaluate(f"xhci_decode_doorbell({place}{numbers})", "%s") == expected
