"""What drivers/usb/dwc3/debug.h prints of a DesignWare USB3 controller's commands and events."""

from __future__ import annotations

from tracekit.ftrace.format import EventFormat
from tracekit.ftrace.print_fmt.usb.decoder import Form, Kernel, Show
from tracekit.ftrace.print_fmt.values import Unresolved

__all__ = [
    "command_status",
    "endpoint_command",
    "event_text",
    "generic_command",
    "generic_status",
    "mode",
    "trb_type",
]

_ETIMEDOUT = -110

_TRBS = {
    number << 4: name
    for number, name in enumerate(
        ("normal", "setup", "status2", "status3", "data", "isoc-first", "isoc", "link"), 1
    )
}
_ENDPOINT_COMMANDS = {
    1: "Set Endpoint Configuration", 2: "Set Endpoint Transfer Resource", 3: "Get Endpoint State",
    4: "Set Stall", 5: "Clear Stall", 6: "Start Transfer", 7: "Update Transfer",
    8: "End Transfer", 9: "Start New Configuration",
}  # fmt: skip
_COMMANDS = {
    1: "Set LMP", 2: "Set Periodic Parameters", 3: "Transmit Function Wake Device Notification",
    4: "Set Scratchpad Buffer Array Address Lo", 5: "Set Scratchpad Buffer Array Address Hi",
    9: "Selected FIFO Flush", 10: "All FIFO Flush", 12: "Set Endpoint NRDY",
    16: "Run SoC Bus Loopback Test",
}  # fmt: skip
_NEW_COMMANDS = {7: "Device Notification", 13: "Set Endpoint Prime"}  # not in all kernels
_STATUS = {_ETIMEDOUT: "Timed Out", 0: "Successful"}


def mode(value: int, _fmt: EventFormat) -> str:
    """``dwc3_mode_string()``."""
    return {1: "host", 2: "device", 3: "otg"}.get(value, "UNKNOWN")


def trb_type(value: int, _fmt: EventFormat) -> str:
    """``dwc3_trb_type_string()``."""
    return _TRBS.get(value, "UNKNOWN")


def endpoint_command(value: int, _fmt: EventFormat) -> str:
    """``dwc3_gadget_ep_cmd_string()``."""
    return _ENDPOINT_COMMANDS.get(value, "UNKNOWN command")


def generic_command(value: int, fmt: EventFormat) -> str:
    """``dwc3_gadget_generic_cmd_string()``; formats with the base address have all names."""
    if value in _NEW_COMMANDS:
        name = _NEW_COMMANDS[value]
        return name if fmt.field("base_address") else f"(?{name})"
    return _COMMANDS.get(value, "UNKNOWN")


def command_status(value: int, _fmt: EventFormat) -> str:
    """``dwc3_ep_cmd_status_string()``."""
    return {**_STATUS, 1: "No Resource", 2: "Bus Expiry"}.get(value, "UNKNOWN")


def generic_status(value: int, _fmt: EventFormat) -> str:
    """``dwc3_gadget_generic_cmd_status_string()``."""
    return {**_STATUS, 1: "Error"}.get(value, "UNKNOWN")


# -- events: union dwc3_event, drivers/usb/dwc3/core.h ----------------------------------------

_LINKS = {
    **dict(enumerate((
        "U0", "U1", "U2", "U3", "SS.Disabled", "RX.Detect", "SS.Inactive", "Polling", "Recovery",
        "Hot Reset", "Compliance", "Loopback",
    ))),
    14: "Reset", 15: "Resume",
}  # fmt: skip
_DEVICE_EVENTS = {
    0: "Disconnect:", 1: "Reset", 2: "Connection Done", 3: "Link Change", 4: "WakeUp",
    6: "Suspend", 7: "Start-Of-Frame", 9: "Erratic Error", 10: "Command Complete", 11: "Overflow",
}  # fmt: skip
_SUSPEND = 6  # "End-Of-Frame" in older kernels
_CONTROL_STATES = ("Unconnected", "Setup Phase", "Data Phase", "Status Phase")
_PHASES = {1: " [Data Phase]", 2: " [Status Phase]"}


def _device_event(event: int, sure: bool) -> str:
    number = event >> 8 & 15
    name = _DEVICE_EVENTS.get(number)
    if name is None:
        return "UNKNOWN"
    if number == _SUSPEND and not sure:
        name = f"(?{name})"
    link = _LINKS.get(event >> 16 & 15)
    if link is None:  # with the end of a line in older kernels
        link = "UNKNOWN link state" if sure else "(?UNKNOWN link state)"
    return f"{name} [{link}]"


def _status(status: int, last: str) -> str:
    bits = ((1, "S"), (2, "I"), (3, last))
    return "".join(name if status >> bit & 1 else name.lower() for bit, name in bits)


def _endpoint_event(event: int, state: int, sure: bool) -> str:
    endpoint, kind, status = event >> 1 & 31, event >> 6 & 15, event >> 12 & 15
    parameters = event >> 16
    number = f"{parameters:08x}" if sure else f"(?{parameters})"  # decimal in older kernels
    control = endpoint <= 1
    match kind:
        case 1:
            name = _CONTROL_STATES[state] if state < len(_CONTROL_STATES) else "UNKNOWN"
            text = f"Transfer Complete ({_status(status, 'L')})" + f" [{name}]" * control
        case 2:
            text = f"Transfer In Progress [{number}] ({_status(status, 'M')})"
        case 3:
            active = "Active" if status & 8 else "Not Active"
            phase = _PHASES.get(status & 3, "") if control else ""
            text = f"Transfer Not Ready [{number}] ({active}){phase}"
        case 4:
            text = "FIFO"
        case 6:
            text = f" Stream {parameters} Found" if status == 1 else " Stream Not Found"
        case 7:
            text = "Endpoint Command Complete"
        case _:
            text = "UNKNOWN"
    return f"ep{endpoint >> 1}{'in' if endpoint & 1 else 'out'}: {text}"


def event_text(kernel: Kernel) -> Show:
    """``dwc3_decode_event()``; what is printed has not changed since the reader makes the text.

    Raises :class:`Unresolved` for the forms before, which have other texts.
    """
    if kernel.form is Form.STATIC:
        raise Unresolved("dwc3_decode_event()")
    sure = kernel.form is Form.READER

    def text(event: int, state: int) -> str:
        return _device_event(event, sure) if event & 1 else _endpoint_event(event, state, sure)

    return text
