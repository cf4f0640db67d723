"""The colours and signs of event systems: fixed, so that ``sched`` looks the same everywhere.

The colours have a contrast of at least 4.5 on every background of the interface, and differ from
one another (``tests/tui/test_colours.py``); a system that is not listed is grey.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["OTHER", "SYSTEMS", "Hue", "hue_of"]


class Hue(NamedTuple):
    """The colour in a dark and in a light theme; the sign where there are no colours."""

    dark: str
    light: str
    sign: str


SYSTEMS = {
    "sched": Hue("#5fafff", "#004f94", "●"),
    "device": Hue("#87d787", "#18602a", "■"),
    "irq": Hue("#ff8000", "#ad1d00", "▲"),
    "notifier": Hue("#ff66cc", "#330022", "○"),
    "initcall": Hue("#ffd500", "#332508", "□"),
    "syscalls": Hue("#00ffff", "#9100ad", "△"),
    "kexec": Hue("#ff6666", "#003333", "★"),
    "printk": Hue("#ad9971", "#70494f", "◇"),
    "ftrace": Hue("#71adad", "#000070", "✚"),
    "timer": Hue("#c4a6ff", "#212433", "◐"),
    "signal": Hue("#ffc4a6", "#470c00", "✖"),
    "workqueue": Hue("#d5ff00", "#1a3300", "▣"),
    "raw_syscalls": Hue("#91ad00", "#705011", "▽"),
    "power": Hue("#ffa6b5", "#ad003a", "◑"),
    "task": Hue("#00d4ff", "#002bff", "◉"),
    "rcu": Hue("#d6d68b", "#116070", "◎"),
    "block": Hue("#1aad7c", "#4f4970", "▤"),
    "bpf_trace": Hue("#00ff00", "#850058", "☆"),
    "tracekit": Hue("#d69a20", "#3c5c4c", "▧"),
    "irq_vectors": Hue("#c2897e", "#47472e", "◭"),
    "exceptions": Hue("#00c200", "#4f0e5c", "◮"),
    "kmem": Hue("#66ffcc", "#70432d", "◫"),
}
OTHER = Hue("#b0b0b0", "#4a4a4a", "▪")


def hue_of(name: str) -> Hue:
    """That of an event's system, ``system:name`` or ``system``."""
    return SYSTEMS.get(name.partition(":")[0], OTHER)
