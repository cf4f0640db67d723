"""Transfer request blocks as ``xhci_decode_trb()`` prints them, by kernel."""

from __future__ import annotations

import struct

import pytest

from tests.support.text_records import make, show
from tracekit.ftrace.context import Context

WORDS = ("u32 field0@8:4", "u32 field1@12:4", "u32 field2@16:4", "u32 field3@20:4")
REST = "REC->field0, REC->field1, REC->field2, REC->field3"
STATIC = make(f'"%s", xhci_decode_trb({REST})', *WORDS)
RECORD = make(f'"%s", xhci_decode_trb(__get_str(str), 500, {REST})',
              *WORDS, "__data_loc char[] str@24:4")  # fmt: skip
READER = make(f'"%s", xhci_decode_trb(__get_buf(500), 500, {REST})', *WORDS)
WITH_ADDRESS = make(f'"%s", xhci_decode_trb(__get_buf(500), 500, {REST})',
                    *WORDS, "dma_addr_t dma@24:8")  # fmt: skip
EVERY = (STATIC, RECORD, READER, WITH_ADDRESS)


def text(fmt, *words: int, release: str = "") -> str:
    return show(fmt, struct.pack("<4I8x", *words), Context(release=release))


ALIKE = [  # what all kernels print alike
    ((0x0BD20400, 1, 0x0D000400, 0x02038001),
     "TRB 000000010bd20400 status 'Short Packet' len 1024 slot 2 ep 3 type 'Transfer Event' "
     "flags e:C"),
    ((0x0BD21000, 0, 0x01000000, 0x01008401),
     "TRB 000000000bd21000 status 'Success' len 0 slot 1 ep 0 type 'Command Completion Event' "
     "flags e:C"),
    ((0x05000000, 0, 0x01000000, 0x00008800),
     "TRB 0000000005000000 status 'Success' len 0 slot 0 ep 0 type 'Port Status Change Event' "
     "flags e:c"),
    ((1, 0, 0x1E000000, 0x00009C05),
     "TRB 0000000000000001 status 'Unknown!!' len 0 slot 0 ep 0 type 'MFINDEX Wrap Event' "
     "flags E:C"),
    ((0x01000680, 0x00120000, 0x00000008, 0x00030841),
     "bRequestType 80 bRequest 06 wValue 0100 wIndex 0000 wLength 18 length 8 TD size 0 intr 0 "
     "type 'Setup Stage' flags I:i:C"),
    ((0x12340923, 0xFEDCBA98, 0x80000008, 0x00000820),
     "bRequestType 23 bRequest 09 wValue 1234 wIndex ba98 wLength 65244 length 8 TD size 0 "
     "intr 512 type 'Setup Stage' flags i:I:c"),
    ((0x12345000, 0, 18, 0x00010C25),
     "Buffer 0000000012345000 length 18 TD size 0 intr 0 type 'Data Stage' flags i:I:c:s:I:e:C"),
    ((0, 0, 0, 0x00001021),
     "Buffer 0000000000000000 length 0 TD size 0 intr 0 type 'Status Stage' flags I:c:e:C"),
    ((0xABCD0000, 0xFFFF, 0x00460200, 0x00000425),
     "Buffer 0000ffffabcd0000 length 512 TD size 3 intr 1 type 'Normal' flags b:i:I:c:s:I:e:C"),
    ((0, 0, 0, 0x0000225E),
     "Buffer 0000000000000000 length 0 TD size 0 intr 0 type 'No-Op' flags B:I:i:C:S:I:E:c"),
    ((0x7FFF0000, 0, 0, 0x00001803), "LINK 000000007fff0000 intr 0 type 'Link' flags i:c:T:C"),
    ((0, 0, 0, 0x00002401), "Enable Slot Command: flags C"),
    ((0, 0, 0, 0x02002801), "Disable Slot Command: slot 2 flags C"),
    ((0x1A2B3C40, 0, 0, 0x01002E01),
     "Address Device Command: ctx 000000001a2b3c40 slot 1 flags B:C"),
    ((0x1A2B3C40, 0, 0, 0x01003001),
     "Configure Endpoint Command: ctx 000000001a2b3c40 slot 1 flags d:C"),
    ((0x1A2B3C40, 2, 0, 0x01003401),
     "Evaluate Context Command: ctx 000000021a2b3c40 slot 1 flags C"),
    ((0, 0, 0, 0x03843C01), "Stop Ring Command: slot 3 sp 1 ep 4 flags C"),
    ((0x1001, 2, 0x00050000, 0x01024001),
     "Set TR Dequeue Pointer Command: deq 0000000200001001 stream 5 slot 1 ep 2 flags C"),
    ((0, 0, 0, 0x04004401), "Reset Device Command: slot 4 flags C"),
    ((0x10, 0, 0x01C00000, 0x00094800),
     "Force Event Command: event 0000000000000010 vf intr 7 vf id 9 flags c"),
    ((0, 0, 0, 0x05004C01), "Negotiate Bandwidth Command: slot 5 flags C"),
    ((0, 0, 0, 0x0ABC5001), "Set Latency Tolerance Value Command: belt 2748 flags C"),
    ((0x20, 0, 0, 0x02035401),
     "Get Port Bandwidth Command: ctx 0000000000000020 slot 2 speed 3 flags C"),
    ((0x12345665, 1, 2, 0x04005801),
     "Force Header Command: info 000000020000000112345660 pkt type 5 roothub port 4 flags C"),
    ((0, 0, 0, 0x00005C01), "No-Op Command: flags C"),
    ((1, 2, 3, 0x0000A000), "type 'UNKNOWN' -> raw 00000001 00000002 00000003 0000a000"),
    ((1, 2, 3, 0x0000C401),
     "type 'NET Get Firmware Revision Command' -> raw 00000001 00000002 00000003 0000c401"),
    ((0xFFFFFFFF,) * 4, "type 'UNKNOWN' -> raw ffffffff ffffffff ffffffff ffffffff"),
    ((0,) * 4, "type 'UNKNOWN' -> raw 00000000 00000000 00000000 00000000"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "expected"), ALIKE)
def test_blocks(words, expected):
    assert [text(fmt, *words) for fmt in EVERY] == [expected] * 4


def test_isochronous_blocks_have_their_own_fields_since_6_13():
    words = (0x2000, 0, 188, 0x92331521)
    old = ("Buffer 0000000000002000 length 188 TD size 0 intr 0 type 'Isoch' "
           "flags b:i:I:c:s:i:e:C")  # fmt: skip
    new = ("Buffer 0000000000002000 length 188 TD size/TBC 0 intr 0 type 'Isoch' TBC 2 TLBPC 3 "
           "frame_id 291 flags S:b:i:I:c:s:i:e:C")  # fmt: skip
    assert [text(fmt, *words) for fmt in EVERY] == [old, old, old, new]


@pytest.mark.parametrize(
    ("fmt", "release", "flags"),
    [
        (STATIC, "", "(?T:)C"),
        (STATIC, "4.19.110-gabc", "C"),
        (STATIC, "5.4.0", "T:C"),
        (RECORD, "", "T:C"),
        (READER, "", "T:C"),
    ],
)
def test_the_flag_of_reset_endpoint_is_printed_since_5_4(fmt, release, flags):
    expected = f"Reset Endpoint Command: ctx 0000000000000000 slot 2 ep 3 flags {flags}"
    assert text(fmt, 0, 0, 0, 0x02033A01, release=release) == expected


def test_a_small_place_cuts_the_text():
    for size, expected in ((8, "Enable "), (1, ""), (0, "")):
        fmt = make(f'"%s|", xhci_decode_trb(__get_buf({size}), {size}, {REST})', *WORDS)
        assert text(fmt, 0, 0, 0, 0x2401) == f"{expected}|"
