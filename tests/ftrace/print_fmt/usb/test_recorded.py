"""What Debian's kernels printed themselves, in a guest with a qemu-xhci: a keyboard, a hub, disks.

Their formats and fields beside their text, which `trace` has. Between the kernels the place of the
text differs, and what of a port and of a block is printed.
"""

from __future__ import annotations

import pytest

from tests.support.text_records import make_format, record
from tracekit.ftrace.context import Context
from tracekit.ftrace.print_fmt.printer import compile_print_fmt

TRB = "REC->field0, REC->field1, REC->field2, REC->field3"
FORMATS = {
    "5.10.0-46-amd64": {
        "trb": f"xhci_decode_trb(__get_str(str), 500, {TRB})",
        "port": "xhci_decode_portsc(__get_str(str), REC->portsc)",
        "slot": "xhci_decode_slot_context(__get_str(str), REC->info, REC->info2, REC->tt_info, "
        "REC->state)",
        "endpoint": "xhci_decode_ep_context(__get_str(str), REC->info, REC->info2, REC->deq, "
        "REC->tx_info)",
        "control": "xhci_decode_ctrl_ctx(__get_str(str), REC->drop, REC->add)",
        "doorbell": "xhci_decode_doorbell(__get_str(str), REC->slot, REC->doorbell)",
    },
    "6.12.118+deb13-amd64": {
        "trb": f"xhci_decode_trb(__get_buf(500), 500, {TRB})",
        "port": "xhci_decode_portsc(__get_buf(500), REC->portsc)",
        "slot": "xhci_decode_slot_context(__get_buf(500), REC->info, REC->info2, REC->tt_info, "
        "REC->state)",
        "endpoint": "xhci_decode_ep_context(__get_buf(500), REC->info, REC->info2, REC->deq, "
        "REC->tx_info)",
        "control": "xhci_decode_ctrl_ctx(__get_buf(500), REC->drop, REC->add)",
        "doorbell": "xhci_decode_doorbell(__get_buf(500), REC->slot, REC->doorbell)",
    },
}
FORMATS["7.3.4+deb13-amd64"] = FORMATS["6.12.118+deb13-amd64"]
FIELDS = {
    "trb": ("field0", "field1", "field2", "field3"),
    "port": ("portsc",),
    "slot": ("info", "info2", "tt_info", "state"),
    "endpoint": ("info", "info2", "deq", "tx_info"),
    "control": ("drop", "add"),
    "doorbell": ("slot", "doorbell"),
}
NEW_FIELDS = {  # which a format has besides, by kernel
    ("6.12.118+deb13-amd64", "port"): "u32 busnum",
    ("7.3.4+deb13-amd64", "port"): "u32 busnum",
    ("7.3.4+deb13-amd64", "trb"): "dma_addr_t dma",
}

ALIKE = [
    ("trb", (0x455A000, 0, 0x1000000, 0x1008401),
     "TRB 000000000455a000 status 'Success' len 0 slot 1 ep 0 type 'Command Completion Event' "
     "flags e:C"),
    ("trb", (0x4534010, 0, 0xD00002E, 0x1018001),
     "TRB 0000000004534010 status 'Short Packet' len 46 slot 1 ep 1 type 'Transfer Event' "
     "flags e:C"),
    ("trb", (0x46DA000, 0, 0x1A000024, 0x4078001),
     "TRB 00000000046da000 status 'Stopped' len 36 slot 4 ep 7 type 'Transfer Event' flags e:C"),
    ("trb", (0x290006A0, 0xF0000, 8, 0x30840),
     "bRequestType a0 bRequest 06 wValue 2900 wIndex 0000 wLength 15 length 8 TD size 0 intr 0 "
     "type 'Setup Stage' flags I:i:c"),
    ("trb", (0x453A400, 0, 0x40, 0x10C05),
     "Buffer 000000000453a400 length 64 TD size 0 intr 0 type 'Data Stage' flags i:i:c:s:I:e:C"),
    ("trb", (0x472AB80, 0, 0x70, 0x424),
     "Buffer 000000000472ab80 length 112 TD size 0 intr 0 type 'Normal' flags b:i:I:c:s:I:e:c"),
    ("trb", (0x46DA013, 0, 0x10000, 0x4074001),
     "Set TR Dequeue Pointer Command: deq 00000000046da013 stream 1 slot 4 ep 7 flags C"),
    ("trb", (0x4662000, 0, 0, 0x5003401),
     "Evaluate Context Command: ctx 0000000004662000 slot 5 flags C"),
    ("slot", (0x1C100000, 0x80A0000, 0, 0),
     "RS 00000 full-speed Hub Ctx Entries 3 MEL 0 us Port# 10/8 "
     "[TT Slot 0 Port# 0 TTT 0 Intr 0] Addr 0 State enabled/disabled"),
    ("slot", (0x8400000, 0x10000, 0, 0x10000002),
     "RS 00000 super-speed Ctx Entries 1 MEL 0 us Port# 1/0 "
     "[TT Slot 0 Port# 0 TTT 0 Intr 0] Addr 2 State addressed"),
    ("endpoint", (0x9003, 0x4000F36, 0x46DA001, 0),
     "State stopped mult 1 max P. Streams 4 LSA interval 125 us max ESIT payload 0 CErr 3 "
     "Type Bulk IN burst 15 maxp 1024 deq 00000000046da001 avg trb len 0"),
    ("endpoint", (0x60000, 0x8003E, 0x455F001, 0x80008),
     "State disabled mult 1 max P. Streams 0 interval 8000 us max ESIT payload 8 CErr 3 "
     "Type Int IN burst 0 maxp 8 deq 000000000455f001 avg trb len 8"),
    ("control", (0x1A4, 0x1A5), "Drop: 1out 2in 3in 4out, Add: slot 1out 2in 3in 4out"),
    ("control", (0, 2), "Add: ep0"),
    ("doorbell", (4, 0x10005), "Slot  Stream 1"),
    ("doorbell", (0, 0), "Command Ring 0"),
]  # fmt: skip
PORTS = [
    ("5.10.0-46-amd64", 0x202A0,
     "Powered Not-connected Disabled Link:RxDetect PortSpeed:0 Change: CSC Wake: "),
    ("6.12.118+deb13-amd64", 0x21203,
     "0x00021203 Powered Connected Enabled Link:U0 PortSpeed:4 Change: CSC Wake: "),
    ("7.3.4+deb13-amd64", 0x21203, "0x00021203 Speed=4 Link=U0 CCS PP PED CSC "),
    ("7.3.4+deb13-amd64", 0x10661, "0x00010661 Speed=1 Link=U3 CCS PP LWS "),
    ("7.3.4+deb13-amd64", 0x401201, "0x00401201 Speed=4 Link=U0 CCS PP PLC "),
]  # fmt: skip


def printed(release: str, kind: str, values: tuple[int, ...]) -> str:
    words = [(f"u64 {f}" if f == "deq" else f"u32 {f}") for f in FIELDS[kind]]
    words += [NEW_FIELDS[release, kind]] if (release, kind) in NEW_FIELDS else []
    fields = [(word, 8 + 8 * i, 8 if "u32" not in word else 4, False)
              for i, word in enumerate(words)]  # fmt: skip
    fmt = make_format("xhci-hcd", "event", fields, f'"%s", {FORMATS[release][kind]}')
    payload = record(fmt, **dict(zip(FIELDS[kind], values, strict=True)))
    return compile_print_fmt(fmt, Context(release=release))(payload)


@pytest.mark.parametrize("release", FORMATS)
@pytest.mark.parametrize(("kind", "values", "expected"), ALIKE)
def test_what_all_kernels_print_alike(release, kind, values, expected):
    assert printed(release, kind, values) == expected


@pytest.mark.parametrize(("release", "portsc", "expected"), PORTS)
def test_ports(release, portsc, expected):
    assert printed(release, "port", (portsc,)) == expected


def test_an_event_that_only_new_kernels_have():
    fmt = make_format(
        "xhci-hcd",
        "xhci_portsc_writel",
        [("u32 busnum", 8, 4, False), ("u32 portsc", 12, 4, False)],
        '"%s", xhci_decode_portsc(__get_buf(500), REC->portsc)',
    )
    text = compile_print_fmt(fmt, Context())(record(fmt, portsc=0x10661))
    assert text == "0x00010661 Speed=1 Link=U3 CCS PP LWS "
