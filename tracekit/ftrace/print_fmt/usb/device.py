"""Speeds and states of devices: drivers/usb/common/common.c, include/uapi/linux/usb/ch9.h."""

from __future__ import annotations

from tracekit.ftrace.format import EventFormat

__all__ = ["speed", "state"]

_SPEEDS = (
    "UNKNOWN", "low-speed", "full-speed", "high-speed", "wireless", "super-speed",
    "super-speed-plus",
)  # fmt: skip
_STATES = (
    "not attached", "attached", "powered", "reconnecting", "unauthenticated", "default",
    "addressed", "configured", "suspended",
)  # fmt: skip


def speed(value: int, _fmt: EventFormat) -> str:
    """``usb_speed_string()``."""
    return _SPEEDS[value] if value < len(_SPEEDS) else "UNKNOWN"


def state(value: int, _fmt: EventFormat) -> str:
    """``usb_state_string()``."""
    return _STATES[value] if value < len(_STATES) else "UNKNOWN"
