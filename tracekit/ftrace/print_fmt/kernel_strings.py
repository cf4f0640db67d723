"""Strings in the kernel's memory: those at an address, and arrays that print formats index.

Kernels append to the arrays (drivers/android/binder.c), and distributors take that back into older
ones. So what lies behind the strings that all have is known of releases that have it for certain.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tracekit.ftrace.kernel_printf.vsprintf import Conversion, pad
from tracekit.ftrace.print_fmt.nodes import Braces, Ident, Node, Str
from tracekit.ftrace.print_fmt.releases import NEWEST, Version

__all__ = ["KERNEL_STRINGS", "is_array", "string_at", "strings_of", "unread_string"]

_PAGE_SIZE = 4096
_ERROR_FLOOR = (1 << 64) - 4095
_CHECKED_SINCE, _CHECKED_UNTIL = (5, 13), (6, 12)  # by trace_check_vprintf(), on x86-64
_ALL = (0, 0)
_OTHERS = "unknown"  # what the formats print for numbers behind the end

#: Name of the array -> which release has which string, at the latest; in order.
KERNEL_STRINGS: Mapping[str, tuple[tuple[tuple[int, int], tuple[str, ...]], ...]] = {
    "binder_command_strings": (
        (_ALL, (
            "BC_TRANSACTION", "BC_REPLY", "BC_ACQUIRE_RESULT", "BC_FREE_BUFFER", "BC_INCREFS",
            "BC_ACQUIRE", "BC_RELEASE", "BC_DECREFS", "BC_INCREFS_DONE", "BC_ACQUIRE_DONE",
            "BC_ATTEMPT_ACQUIRE", "BC_REGISTER_LOOPER", "BC_ENTER_LOOPER", "BC_EXIT_LOOPER",
            "BC_REQUEST_DEATH_NOTIFICATION", "BC_CLEAR_DEATH_NOTIFICATION", "BC_DEAD_BINDER_DONE",
        )),
        ((4, 14), ("BC_TRANSACTION_SG", "BC_REPLY_SG")),
        ((6, 12), (
            "BC_REQUEST_FREEZE_NOTIFICATION", "BC_CLEAR_FREEZE_NOTIFICATION",
            "BC_FREEZE_NOTIFICATION_DONE",
        )),
    ),
    "binder_return_strings": (
        (_ALL, (
            "BR_ERROR", "BR_OK", "BR_TRANSACTION", "BR_REPLY", "BR_ACQUIRE_RESULT",
            "BR_DEAD_REPLY", "BR_TRANSACTION_COMPLETE", "BR_INCREFS", "BR_ACQUIRE", "BR_RELEASE",
            "BR_DECREFS", "BR_ATTEMPT_ACQUIRE", "BR_NOOP", "BR_SPAWN_LOOPER", "BR_FINISHED",
            "BR_DEAD_BINDER", "BR_CLEAR_DEATH_NOTIFICATION_DONE", "BR_FAILED_REPLY",
        )),
        ((5, 14), ("BR_FROZEN_REPLY", "BR_ONEWAY_SPAM_SUSPECT")),
        ((6, 12), (
            "BR_TRANSACTION_PENDING_FROZEN", "BR_FROZEN_BINDER",
            "BR_CLEAR_FREEZE_NOTIFICATION_DONE",
        )),
    ),
}  # fmt: skip


def unread_string(address: int, conversion: Conversion, version: Version) -> str:
    """What ``%s`` prints of an address without a string (``check_pointer_msg()``).

    Of others the address is what is known.
    """
    bad = address >= _ERROR_FLOOR or address < _PAGE_SIZE
    is_checked = not set(conversion.flags) - {"0"} and conversion.precision != 0
    if bad and is_checked and _CHECKED_SINCE <= (version or _ALL) < _CHECKED_UNTIL:
        return f"({address:#018x})[UNSAFE-MEMORY]"
    shown = f"{address:#x}" if not bad else "(efault)" if address else "(null)"
    return pad(shown, conversion)


def string_at(array: str, version: Version) -> Callable[[int], str]:
    """What the format of a kernel of that version prints for each number; None: not known."""
    here = version or _ALL
    strings = [
        name if here >= since else None for since, names in KERNEL_STRINGS[array] for name in names
    ]

    def text(number: int) -> str:
        if number < len(strings):
            return strings[number] or f"(?{number})"
        return _OTHERS if _ALL < here <= NEWEST else f"(?{number})"

    return text


def is_array(node: Node) -> bool:
    """Whether it names one of these arrays."""
    return isinstance(node, Ident) and node.name in KERNEL_STRINGS


def strings_of(node: Node, version: Version) -> Callable[[int], str] | None:
    """What an array of strings has for each number; None for anything else.

    It is one of these, or written out in the format.
    """
    if isinstance(node, Ident) and node.name in KERNEL_STRINGS:
        return string_at(node.name, version)
    if not isinstance(node, Braces):
        return None
    texts = [item.text for item in node.items if isinstance(item, Str)]
    whole = len(texts) == len(node.items)
    return lambda n: texts[n] if whole and n < len(texts) else f"(?{n})"
