"""What drivers/usb/host/xhci.h prints of an xHCI host's contexts, ports and doorbells."""

from __future__ import annotations

from tracekit.ftrace.format import EventFormat
from tracekit.ftrace.kernel_printf.ctype import INT, wrap
from tracekit.ftrace.print_fmt.usb.decoder import Form, Kernel, Show

__all__ = ["control_text", "doorbell_text", "endpoint_text", "port_text", "ring", "slot_text"]

_RINGS = ("CTRL", "ISOC", "BULK", "INTR", "STREAM", "CMD", "EVENT")
_SPEEDS = dict(
    enumerate(("full-speed", "low-speed", "high-speed", "super-speed", "super-speed plus"), 1)
)
_SLOT_STATES = ("enabled/disabled", "default", "addressed", "configured")
_STATES = ("disabled", "running", "halted", "stopped", "error")
_TYPES = (
    "INVALID", "Isoc OUT", "Bulk OUT", "Int OUT", "Ctrl", "Isoc IN", "Bulk IN", "Int IN",
)  # fmt: skip
_LINKS = {
    **dict(enumerate((
        "U0", "U1", "U2", "U3", "Disabled", "RxDetect", "Inactive", "Polling", "Recovery",
        "Hot Reset", "Compliance mode", "Test mode",
    ))),
    15: "Resume",
}  # fmt: skip


def _named(names: tuple[str, ...], number: int, otherwise: str) -> str:
    return names[number] if number < len(names) else otherwise


def ring(value: int, _fmt: EventFormat) -> str:
    """``xhci_ring_type_string()``."""
    return _named(_RINGS, value, "UNKNOWN")


# -- contexts ---------------------------------------------------------------------------------


def slot_text(_kernel: Kernel) -> Show:
    """``xhci_decode_slot_context()``."""

    def text(info: int, info2: int, tt: int, state: int) -> str:
        speed = _SPEEDS.get(info >> 20 & 15, "UNKNOWN speed")
        multi = " multi-TT" if info >> 25 & 1 else ""
        hub = " Hub" if info >> 26 & 1 else ""
        return (
            f"RS {info & 0xFFFFF:05x} {speed}{multi}{hub} Ctx Entries {info >> 27} "
            f"MEL {info2 & 0xFFFF} us Port# {info2 >> 16 & 0xFF}/{info2 >> 24} "
            f"[TT Slot {tt & 0xFF} Port# {tt >> 8 & 0xFF} TTT {tt >> 16 & 3} Intr {tt >> 22}] "
            f"Addr {state & 0xFF} State {_named(_SLOT_STATES, state >> 27, 'reserved')}"
        )

    return text


def endpoint_text(kernel: Kernel) -> Show:
    """``xhci_decode_ep_context()``.

    Before 4.14 both stream fields were cut to nothing, so what they hold is sure only since.
    """
    sure = kernel.form is not Form.STATIC or kernel.since(4, 14) is True

    def text(info: int, info2: int, dequeue: int, tx_info: int) -> str:
        streams, linear = str(info >> 10 & 31), "LSA " if info >> 15 & 1 else ""
        if not sure:
            streams = streams if streams == "0" else f"(?{streams})"
            linear = f"(?{linear})" if linear else ""
        interval = wrap(125 << (info >> 16 & 31), INT)  # as the CPU shifts by more than 31
        return (
            f"State {_named(_STATES, info & 7, 'INVALID')} mult {(info >> 8 & 3) + 1} "
            f"max P. Streams {streams} {linear}interval {interval} us "
            f"max ESIT payload {info >> 24 << 16 | tx_info >> 16} CErr {info2 >> 1 & 3} "
            f"Type {_TYPES[info2 >> 3 & 7]} {'HID' if info2 >> 7 & 1 else ''}"
            f"burst {info2 >> 8 & 0xFF} maxp {info2 >> 16} deq {dequeue:016x} "
            f"avg trb len {tx_info & 0xFFFF}"
        )

    return text


def _endpoints(flags: int) -> str:
    return "".join(
        f" {bit // 2}{'in' if bit % 2 else 'out'}" for bit in range(32) if flags >> bit & 1
    )


def control_text(kernel: Kernel) -> Show:
    """``xhci_decode_ctrl_ctx()``.

    It prints nothing of no flags, but with a static array it may be the text before.
    """
    stale = kernel.form is Form.STATIC

    def text(drop: int, add: int) -> str:
        if not drop and not add:
            return "(?xhci_decode_ctrl_ctx(0, 0))" if stale else ""
        dropped = f"Drop:{_endpoints(drop)}, " if drop else ""
        slot, first = " slot" if add & 1 else "", " ep0" if add & 2 else ""
        return f"{dropped}Add:{slot}{first}{_endpoints(add & ~3)}" if add else dropped

    return text


# -- ports ------------------------------------------------------------------------------------

_CHANGES = ("CSC", "PEC", "WRC", "OCC", "PRC", "PLC", "CEC", "CAS")  # bits 17 to 24
_WAKES = ("WCE", "WDE", "WOE")  # bits 25 to 27
_BITS = (  # as xhci_decode_portsc() has them since 6.19
    (0, "CCS"), (3, "OCA"), (24, "CAS"), (30, "DR"), (9, "PP"), (25, "WCE"), (26, "WDE"),
    (27, "WOE"), (16, "LWS"), (4, "PR"), (31, "WPR"), (1, "PED"), (17, "CSC"), (18, "PEC"),
    (19, "WRC"), (20, "OCC"), (21, "PRC"), (22, "PLC"), (23, "CEC"),
)  # fmt: skip
_GONE = 0xFFFFFFFF  # what is read of a host that is not there


def _set_bits(portsc: int, first: int, names: tuple[str, ...]) -> str:
    return "".join(f"{name} " for bit, name in enumerate(names, first) if portsc >> bit & 1)


def _words(portsc: int, speed: str) -> str:
    """As it is printed before 6.19, without the number; ``speed`` is not before 4.19."""
    return (
        f"{'Powered' if portsc >> 9 & 1 else 'Powered-off'} "
        f"{'Connected' if portsc & 1 else 'Not-connected'} "
        f"{'Enabled' if portsc >> 1 & 1 else 'Disabled'} "
        f"Link:{_LINKS.get(portsc >> 5 & 15, 'Unknown')} {speed}"
        f"{'OverCurrent ' if portsc >> 3 & 1 else ''}{'In-Reset ' if portsc >> 4 & 1 else ''}"
        f"Change: {_set_bits(portsc, 17, _CHANGES)}Wake: {_set_bits(portsc, 25, _WAKES)}"
    )


def _speed(portsc: int) -> str:
    return f"PortSpeed:{portsc >> 10 & 15} "


def _plain(portsc: int) -> str:
    return _words(portsc, _speed(portsc))


def _slow(portsc: int) -> str:
    return _words(portsc, "")


def _unsure_speed(portsc: int) -> str:
    return _words(portsc, f"(?{_speed(portsc)})")


def _numbered(portsc: int) -> str:
    """With the number, since 6.10."""
    return f"0x{portsc:08x} " + ("" if portsc == _GONE else _plain(portsc))


def _short(portsc: int) -> str:
    """Since 6.19."""
    number = f"0x{portsc:08x} "
    if portsc == _GONE:
        return number
    link = _LINKS.get(portsc >> 5 & 15, "Unknown")
    bits = "".join(f"{name} " for bit, name in _BITS if portsc >> bit & 1)
    return f"{number}Speed={portsc >> 10 & 15} Link={link} {bits}"


def _unsure(portsc: int) -> str:
    return f"(?xhci_decode_portsc({portsc}))"


def port_text(kernel: Kernel) -> Show:
    """``xhci_decode_portsc()``: what is printed is another since 4.19, 6.10 and 6.19.

    Formats have the bus's number since 6.7, so none without it is that new.
    """
    if kernel.fmt.field("busnum") is None:
        if kernel.form is not Form.STATIC or kernel.since(4, 19):
            return _plain
        return _slow if kernel.since(4, 15) is False else _unsure_speed
    if kernel.fmt.name == "xhci_portsc_writel":  # which is no older
        return _short
    if kernel.version is None:
        return _unsure
    return _short if kernel.since(6, 19) else _numbered if kernel.since(6, 10) else _plain


def doorbell_text(_kernel: Kernel) -> Show:
    """``xhci_decode_doorbell()``.

    A stream is printed over what is there, from where the length of the endpoint alone points.
    """

    def text(slot: int, doorbell: int) -> str:
        if slot == 0:
            return f"Command Ring {wrap(doorbell, INT)}"
        number, stream = doorbell & 0xFF, doorbell >> 16
        if 0 < number < 32:
            target = f"ep{number // 2}{'in' if number % 2 else 'out'}"
        else:
            target = f"{'Reserved' if number < 248 else 'Vendor Defined'} {number}"
        whole = f"Slot {wrap(slot, INT)} {target}"
        return f"{whole[: len(target)]} Stream {stream}" if stream else whole

    return text
