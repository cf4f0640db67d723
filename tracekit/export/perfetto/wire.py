"""Protobuf by hand: fields of messages, as far as a trace needs them."""

from __future__ import annotations

__all__ = ["Value", "debug_values", "message", "number", "packet", "text", "varint"]

_U64 = (1 << 64) - 1
_NAME, _BOOL, _INT, _TEXT = 10, 2, 4, 6  # of DebugAnnotation
_DEBUG_ANNOTATION = 4  # of TrackEvent
Value = bool | int | str | None


def varint(value: int) -> bytes:
    """An unsigned number, or a negative one as 64 bits."""
    value &= _U64
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(field: int, value: int) -> bytes:
    """A number or an enumerator."""
    return varint(field << 3) + varint(value)


def message(field: int, *parts: bytes) -> bytes:
    """A message or bytes."""
    content = b"".join(parts)
    return varint(field << 3 | 2) + varint(len(content)) + content


def text(field: int, value: str) -> bytes:
    """A string."""
    return message(field, value.encode("utf-8", "replace"))


def packet(*parts: bytes) -> bytes:
    """A TracePacket of a Trace."""
    return message(1, *parts)


def debug_values(values: dict[str, Value]) -> bytes:
    """What a TrackEvent says besides its name; None is left out."""
    found = []
    for name, value in values.items():
        if isinstance(value, bool):
            found.append(message(_DEBUG_ANNOTATION, text(_NAME, name), number(_BOOL, value)))
        elif isinstance(value, int):
            found.append(message(_DEBUG_ANNOTATION, text(_NAME, name), number(_INT, value)))
        elif value is not None:
            found.append(message(_DEBUG_ANNOTATION, text(_NAME, name), text(_TEXT, value)))
    return b"".join(found)
