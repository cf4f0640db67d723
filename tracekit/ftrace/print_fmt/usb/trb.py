"""``xhci_decode_trb()``, drivers/usb/host/xhci.h: the transfer request blocks of an xHCI host.

Kernels before 5.4 print one flag less of a Reset Endpoint Command; since 6.13 what is in an
isochronous block alone is printed, too, and the format then has the block's address.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tracekit.ftrace.print_fmt.usb.decoder import Form, Kernel, Show, letters

__all__ = ["trb_text"]

_COMPLETIONS = {  # xhci_trb_comp_code_string()
    0: "Invalid", 1: "Success", 2: "Data Buffer Error", 3: "Babble Detected",
    4: "USB Transaction Error", 5: "TRB Error", 6: "Stall Error", 7: "Resource Error",
    8: "Bandwidth Error", 9: "No Slots Available Error", 10: "Invalid Stream Type Error",
    11: "Slot Not Enabled Error", 12: "Endpoint Not Enabled Error", 13: "Short Packet",
    14: "Ring Underrun", 15: "Ring Overrun", 16: "VF Event Ring Full Error",
    17: "Parameter Error", 18: "Bandwidth Overrun Error", 19: "Context State Error",
    20: "No Ping Response Error", 21: "Event Ring Full Error", 22: "Incompatible Device Error",
    23: "Missed Service Error", 24: "Command Ring Stopped", 25: "Command Aborted", 26: "Stopped",
    27: "Stopped - Length Invalid", 28: "Stopped - Short Packet",
    29: "Max Exit Latency Too Large Error", 31: "Isoch Buffer Overrun", 32: "Event Lost Error",
    33: "Undefined Error", 34: "Invalid Stream ID Error", 35: "Secondary Bandwidth Error",
    36: "Split Transaction Error",
}  # fmt: skip
_TYPES = {  # xhci_trb_type_string(); the last one is spelt so
    1: "Normal", 2: "Setup Stage", 3: "Data Stage", 4: "Status Stage", 5: "Isoch", 6: "Link",
    7: "Event Data", 8: "No-Op", 9: "Enable Slot Command", 10: "Disable Slot Command",
    11: "Address Device Command", 12: "Configure Endpoint Command",
    13: "Evaluate Context Command", 14: "Reset Endpoint Command", 15: "Stop Ring Command",
    16: "Set TR Dequeue Pointer Command", 17: "Reset Device Command", 18: "Force Event Command",
    19: "Negotiate Bandwidth Command", 20: "Set Latency Tolerance Value Command",
    21: "Get Port Bandwidth Command", 22: "Force Header Command", 23: "No-Op Command",
    32: "Transfer Event", 33: "Command Completion Event", 34: "Port Status Change Event",
    35: "Bandwidth Request Event", 36: "Doorbell Event", 37: "Host Controller Event",
    38: "Device Notification Event", 39: "MFINDEX Wrap Event",
    48: "NEC Command Completion Event", 49: "NET Get Firmware Revision Command",
}  # fmt: skip
_ISOCH, _RESET_ENDPOINT = 5, 14

#: Of the four words and the block's type.
_Block = Callable[[int, int, int, int, str], str]


def _raw(a: int, b: int, c: int, d: int, kind: str) -> str:
    return f"type '{kind}' -> raw {a:08x} {b:08x} {c:08x} {d:08x}"


def _event(a: int, b: int, c: int, d: int, kind: str) -> str:
    status = _COMPLETIONS.get(c >> 24, "Unknown!!")
    return (
        f"TRB {b:08x}{a:08x} status '{status}' len {c & 0xFFFFFF} slot {d >> 24} "
        f"ep {d >> 16 & 31} type '{kind}' flags {letters(d, 'E2 C0')}"
    )


def _transfer(c: int, kind: str, size: str = "TD size") -> str:
    return f"length {c & 0x1FFFF} {size} {c >> 17 & 31} intr {c >> 22} type '{kind}'"


def _setup(a: int, b: int, c: int, d: int, kind: str) -> str:
    return (
        f"bRequestType {a & 0xFF:02x} bRequest {a >> 8 & 0xFF:02x} wValue {a >> 16:04x} "
        f"wIndex {b & 0xFFFF:04x} wLength {b >> 16} {_transfer(c, kind)} "
        f"flags {letters(d, 'I6 I5 C0')}"
    )


def _link(a: int, b: int, c: int, d: int, kind: str) -> str:
    flags = letters(d, "I5 C4 T1 C0")
    return f"LINK {b:08x}{a:08x} intr {c >> 22} type '{kind}' flags {flags}"


def _isoch(a: int, b: int, c: int, d: int, kind: str) -> str:
    return (
        f"Buffer {b:08x}{a:08x} {_transfer(c, kind, 'TD size/TBC')} TBC {d >> 7 & 3} "
        f"TLBPC {d >> 16 & 15} frame_id {d >> 20 & 0x7FF} "
        f"flags {letters(d, 'S31 B9 I6 I5 C4 S3 I2 E1 C0')}"
    )


def _buffer(flags: str) -> _Block:
    def text(a: int, b: int, c: int, d: int, kind: str) -> str:
        return f"Buffer {b:08x}{a:08x} {_transfer(c, kind)} flags {letters(d, flags)}"

    return text


def _command(rest: Callable[[int, int, int, int], str], flags: str = "C0") -> _Block:
    def text(a: int, b: int, c: int, d: int, kind: str) -> str:
        return f"{kind}: {rest(a, b, c, d)}flags {letters(d, flags)}"

    return text


def _slot(_a: int, _b: int, _c: int, d: int) -> str:
    return f"slot {d >> 24} "


def _context(a: int, b: int, _c: int, d: int) -> str:
    return f"ctx {b:08x}{a:08x} slot {d >> 24} "


def _endpoint(a: int, b: int, c: int, d: int) -> str:
    return f"{_context(a, b, c, d)}ep {d >> 16 & 31} "


def _stop(_a: int, _b: int, _c: int, d: int) -> str:
    return f"slot {d >> 24} sp {d >> 23 & 1} ep {d >> 16 & 31} "


def _dequeue(a: int, b: int, c: int, d: int) -> str:
    return f"deq {b:08x}{a:08x} stream {c >> 16} slot {d >> 24} ep {d >> 16 & 31} "


def _force_event(a: int, b: int, c: int, d: int) -> str:
    return f"event {b:08x}{a:08x} vf intr {c >> 22} vf id {d >> 16 & 0xFF} "


def _bandwidth(a: int, b: int, c: int, d: int) -> str:
    return f"{_context(a, b, c, d)}speed {d >> 16 & 15} "


def _header(a: int, b: int, c: int, d: int) -> str:
    info = f"{c:08x}{b:08x}{a & 0xFFFFFFE0:08x}"
    return f"info {info} pkt type {a & 31} roothub port {d >> 24} "


def _reset_perhaps(a: int, b: int, c: int, d: int, kind: str) -> str:
    """Where it is not known whether the flag T is printed."""
    flags = f"(?{letters(d, 'T9')}:){letters(d, 'C0')}"
    return f"{kind}: {_endpoint(a, b, c, d)}flags {flags}"


_NORMAL = _buffer("B9 I6 I5 C4 S3 I2 E1 C0")
_ONLY_FLAGS = _command(lambda *_words: "")
_ONLY_SLOT = _command(_slot)
_BLOCKS: Mapping[int, _Block] = {
    1: _NORMAL,
    2: _setup,
    3: _buffer("I6 I5 C4 S3 I2 E1 C0"),
    4: _buffer("I5 C4 E1 C0"),
    _ISOCH: _NORMAL,
    6: _link,
    7: _NORMAL,
    8: _NORMAL,
    9: _ONLY_FLAGS,
    10: _ONLY_SLOT,
    11: _command(_context, "B9 C0"),
    12: _command(_context, "D9 C0"),
    13: _command(_context),
    _RESET_ENDPOINT: _command(_endpoint, "T9 C0"),
    15: _command(_stop),
    16: _command(_dequeue),
    17: _ONLY_SLOT,
    18: _command(_force_event),
    19: _ONLY_SLOT,
    20: _command(lambda _a, _b, _c, d: f"belt {d >> 16 & 0xFFF} "),
    21: _command(_bandwidth),
    22: _command(_header),
    23: _ONLY_FLAGS,
    **dict.fromkeys(range(32, 40), _event),
}


def trb_text(kernel: Kernel) -> Show:
    """What the kernel prints of a block's four words."""
    blocks = dict(_BLOCKS)
    if kernel.fmt.field("dma") is not None:
        blocks[_ISOCH] = _isoch
    if kernel.form is Form.STATIC:
        with_flag = kernel.since(5, 4)
        if with_flag is None:
            blocks[_RESET_ENDPOINT] = _reset_perhaps
        elif not with_flag:
            blocks[_RESET_ENDPOINT] = _command(_endpoint)

    def text(a: int, b: int, c: int, d: int) -> str:
        number = d >> 10 & 63
        return blocks.get(number, _raw)(a, b, c, d, _TYPES.get(number, "UNKNOWN"))

    return text
