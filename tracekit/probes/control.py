"""What is done to the tracers through tracefs: writes to control files, readers, instances.

``kernel/trace/`` itself may be probed only with CONFIG_KPROBE_EVENTS_ON_NOTRACE, which
distributions lack. The file system above it can be probed everywhere: ``vfs_write()``,
``vfs_open()`` and ``__fput()``. Kept is what others than the recorder do in tracefs. The BPF
programs are in ``bpf/control.c``; here are the offsets they need, and the kprobe events that stand
in for them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from tracekit.probes.kernel import Missing, ProbedKernel
from tracekit.probes.records import Kind

__all__ = ["PROGRAMS", "ControlEvent", "control_event", "control_macros", "no_offsets"]

#: Programs of bpf/control.c, by event.
PROGRAMS: Mapping[str, str] = {
    "tracefs:write": "tk_tracefs_write",
    "tracefs:open": "tk_tracefs_open",
    "tracefs:close": "tk_tracefs_close",
}
_MEMBERS = (
    ("file", "f_inode", "TK_FILE_INODE"),
    ("file", "f_flags", "TK_FILE_FLAGS"),
    ("file", "f_path.dentry", "TK_FILE_DENTRY"),
    ("path", "dentry", "TK_PATH_DENTRY"),
    ("dentry", "d_parent", "TK_DENTRY_PARENT"),
    ("dentry", "d_name.name", "TK_DENTRY_NAME"),
    ("dentry", "d_inode", "TK_DENTRY_INODE"),
    ("inode", "i_sb", "TK_INODE_SB"),
    ("super_block", "s_magic", "TK_SUPER_MAGIC"),
)
_PARENTS = 5  # events/SYSTEM/EVENT/enable lies so deep below instances/

# The files whose opening and closing matter, and those that O_TRUNC (01000) empties: as the
# programs have them.
_HELD = '(file ~ "trace_pipe*" || file == "free_buffer" || file == "snapshot_raw")'
_EMPTIED = '(file == "trace" || file ~ "set_*" || file ~ "*_events")'
_FILTERS = {
    "tracefs:write": 'file != "trace_marker" && file != "trace_marker_raw"',
    "tracefs:open": _HELD,
    "tracefs:truncate": f"flags & 512 && {_EMPTIED}",
    "tracefs:close": _HELD,
}
_MAGIC = 0x74726163  # TRACEFS_MAGIC, include/uapi/linux/magic.h


class ControlEvent(NamedTuple):
    """A kprobe event: its name, what it fetches, and the filter that it must have."""

    name: str
    arguments: tuple[str, ...]
    filter: str


def control_macros(kernel: ProbedKernel) -> dict[str, int]:
    """``-D`` of ``bpf/control.c``; empty where BTF does not tell all of them."""
    return kernel.macros(_MEMBERS)


def no_offsets(kind: Kind, kernel: ProbedKernel) -> Missing:
    """The entry for a kind that cannot be recorded without the offsets."""
    reason = kernel.btf_reason or "BTF lacks a member of struct file, dentry, inode or super_block"
    return Missing(kind.event, kind.functions, reason)


def _names(at: Mapping[str, int], dentry: str) -> Iterator[str]:
    """The names of a file and of the directories above it: ``file``, ``in1``, ``in2`` and on."""
    for label in ("file", *(f"in{i + 1}" for i in range(_PARENTS))):
        yield f"{label}=+0(+{at['TK_DENTRY_NAME']}({dentry})):string"
        dentry = f"+{at['TK_DENTRY_PARENT']}({dentry})"


def _arguments(event: str, at: Mapping[str, int]) -> Iterator[str]:
    opened = event in ("tracefs:open", "tracefs:truncate")
    if opened:  # struct file has no inode yet
        dentry = f"+{at['TK_PATH_DENTRY']}($arg1)"
        inode = f"+{at['TK_DENTRY_INODE']}({dentry})"
    else:
        dentry = f"+{at['TK_FILE_DENTRY']}($arg1)"
        inode = f"+{at['TK_FILE_INODE']}($arg1)"
    yield from _names(at, dentry)
    if event == "tracefs:write":
        yield "count=$arg3:u64"
        yield "buffer=+u0($arg2):ustring"  # of which only the first count bytes are written
    if opened:
        yield f"flags=+{at['TK_FILE_FLAGS']}($arg2):x32"
    yield f"magic=+{at['TK_SUPER_MAGIC']}(+{at['TK_INODE_SB']}({inode})):x64"


def control_event(kind: Kind, kernel: ProbedKernel) -> ControlEvent | None:
    """The kprobe event for a kind of the file system; None without the offsets it needs."""
    at = control_macros(kernel)
    if not at:
        return None
    name = kind.event.replace(":", "_")
    others = f"common_pid != {os.getpid()}"  # what the recorder does itself is left out
    wanted = f"magic == {_MAGIC:#x} && {others} && {_FILTERS[kind.event]}"
    return ControlEvent(name, tuple(_arguments(kind.event, at)), wanted)
