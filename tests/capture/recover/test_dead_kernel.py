"""A dead kernel as a tree of files."""

from __future__ import annotations

import pytest

from tracekit.capture.recover.dead_kernel import DumpTree
from tracekit.errors import SourceError
from tracekit.sysroot import Sysroot, find_tracefs

TREE = DumpTree(
    "dump",
    {
        "sys/kernel/tracing/events/sched/sched_switch/format": b"name: sched_switch\n",
        "sys/kernel/tracing/events/header_page": b"",
        "dmesg": b"[    0.000000] Linux\n",
        "proc/cmdline": b"quiet\n",
    },
)


def test_what_is_asked_of_a_root() -> None:
    assert not TREE.live
    assert find_tracefs(TREE) == "sys/kernel/tracing"
    assert TREE.glob("sys/kernel/tracing/events/*/*/format") == [
        "sys/kernel/tracing/events/sched/sched_switch/format"
    ]
    assert TREE.names("sys/kernel/tracing/events") == ["header_page", "sched"]
    assert TREE.names(".") == ["dmesg", "proc", "sys"]
    assert TREE.names("nothing") == []
    assert TREE.exists("proc") and TREE.exists("proc/cmdline") and not TREE.exists("proc/kcore")
    assert TREE.text("proc/cmdline") == "quiet\n"
    assert TREE.kernel_log() == b"[    0.000000] Linux\n"
    assert TREE.where("proc/stat") == "dump: proc/stat"
    with pytest.raises(SourceError, match="dump: proc/stat: no such file"):
        TREE.read("proc/stat")
    TREE.need_root("anything")


def test_nothing_on_disk_is_opened() -> None:
    assert TREE.open_binary("proc/kcore") is None
    assert TREE.open_memory("dev/mem") is None
    assert TREE.link("proc/self") == ""
    found = TREE.open_binary("proc/cmdline")
    assert found is not None and found.read() == b"quiet\n"
    asked = {name for name in vars(Sysroot) if not name.startswith("_")} - {"path"}
    own = {name for name in vars(DumpTree) if not name.startswith("_")}
    # these ask the ones above
    assert asked - own == {"need_root", "read", "text", "glob", "kernel_log"}
