"""What drivers/usb/typec/ucsi/trace.c prints of USB Type-C's system software interface."""

from __future__ import annotations

from tracekit.ftrace.format import EventFormat

__all__ = ["acknowledged", "command", "completion", "recipient"]

_COMMANDS = (  # all there are, in kernels from 4.20 to 7.3
    "Unknown command", "PPM_RESET", "CANCEL", "CONNECTOR_RESET", "ACK_CC_CI",
    "SET_NOTIFICATION_ENABLE", "GET_CAPABILITY", "GET_CONNECTOR_CAPABILITY", "SET_UOM", "SET_UOR",
    "SET_PDM", "SET_PDR", "GET_ALTERNATE_MODES", "GET_CAM_SUPPORTED", "GET_CURRENT_CAM",
    "SET_NEW_CAM", "GET_PDOS", "GET_CABLE_PROPERTY", "GET_CONNECTOR_STATUS", "GET_ERROR_STATUS",
)  # fmt: skip
_ACKS = ("", "event", "command")
_RECIPIENTS = ("port", "partner", "plug (prime)", "plug (double prime)")


def command(value: int, _fmt: EventFormat) -> str:
    """``ucsi_cmd_str()``: by the low byte."""
    number = value & 0xFF
    return _COMMANDS[number if number < len(_COMMANDS) else 0]


def acknowledged(value: int, _fmt: EventFormat) -> str:
    """``ucsi_ack_str()``."""
    return _ACKS[value if value < len(_ACKS) else 0]


def completion(value: int, _fmt: EventFormat) -> str:
    """``ucsi_cci_str()``; whether bit 0, which is reserved, is a connector's differs by kernel."""
    if value & 0xFF == 1:
        return f"(?ucsi_cci_str({value}))"
    acknowledge, complete = value >> 29 & 1, value >> 31 & 1
    if value & 0xFF:
        if acknowledge or complete:
            return f"Event pending ({'ACK' if acknowledge else 'command'} completed)"
        return "Connector Change"
    return "ACK completed" if acknowledge else "Command completed" if complete else ""


def recipient(value: int, _fmt: EventFormat) -> str:
    """``ucsi_recipient_str()``, which looks beyond its table for others."""
    return _RECIPIENTS[value] if value < len(_RECIPIENTS) else f"(?ucsi_recipient_str({value}))"
