"""Events that were made at run time."""

from __future__ import annotations

import pytest

from tests.support.memory.dead_kernels import with_memory
from tracekit.kmemory.dynamic import dynamic_events
from tracekit.kmemory.lists import walk
from tracekit.kmemory.memory import PAGE

KNOWN = [
    "p:probes/openat do_sys_openat2 dfd=%di:s32 name=+0(%si):ustring flags=+0(%dx):x64\n",
    "r10:probes/openat_ret do_sys_openat2 ret=$retval:s64\n",
    "s:synthetic/wake_lat\tu64 lat; pid_t pid; char[16] comm; char[] what\n",
]


def test_probes_and_a_synthetic_event(debian) -> None:
    assert list(dynamic_events(debian.kernel)) == KNOWN
    # the others' descriptions are not in the cut dump
    assert debian.kernel.notes.count("dynamic events") == 3


class Page:
    """The page with an event that the dump lacks: filled anew."""

    def __init__(self, debian) -> None:
        self.memory = debian.memory.copy()
        self.kernel = with_memory(debian.kernel, self.memory)
        head = self.kernel.symbol("dyn_event_list")
        places = {n: self.kernel.memory.physical(n & -PAGE) for n in walk(self.kernel, head).nodes}
        self.event = next(n for n, page in places.items() if page not in self.memory.pages)
        self.physical = self.kernel.memory.physical(self.event & -PAGE)
        self.end = 0

    def put(self, offset: int, data: bytes) -> int:
        """Bytes in the page; returns the kernel's address of them."""
        self.memory.poke(self.physical + offset, data)
        return (self.event & -PAGE) + offset

    def text(self, words: str) -> int:
        self.end += 64
        return self.put(self.end, words.encode() + b"\0")

    def set(self, struct_: str, address: int, **values: int) -> None:
        """Members of a struct in this page; ``__`` stands for a dot."""
        for name, value in values.items():
            place = self.kernel.place(struct_, name.replace("__", "."))
            data = value.to_bytes(place.size or 8, "little")
            self.put(address + place.offset - (self.event & -PAGE), data)

    def lines(self) -> list[str]:
        fresh = with_memory(self.kernel, self.memory)
        return [line for line in dynamic_events(fresh) if line not in KNOWN]


@pytest.mark.parametrize(
    ("ret", "line"),
    [
        (0, "p:mine/up /bin/sh:0x0000000000001234(0x88)\n"),
        (1, "r:mine/up /bin/sh:0x0000000000001234(0x88)\n"),
    ],
)
def test_a_uprobe(debian, ret: int, line: str) -> None:
    page = Page(debian)
    event = named(page, "mine", "up")
    page.set(
        "trace_uprobe", page.event, devent__ops=page.kernel.symbol("trace_uprobe_ops"),
        filename=page.text("/bin/sh"), offset=0x1234, ref_ctr_offset=0x88,
        consumer__ret_handler=ret, tp__event=event, tp__nr_args=0,
    )  # fmt: skip
    assert page.lines() == [line]


def test_probes_of_functions_and_tracepoints(debian) -> None:
    page = Page(debian)
    event = named(page, "mine", "f")
    page.set(
        "trace_fprobe", page.event, devent__ops=page.kernel.symbol("trace_fprobe_ops"),
        symbol=page.text("vfs_read"), tp__event=event, tp__nr_args=0,
    )  # fmt: skip
    assert page.lines() == ["f:mine/f vfs_read\n"]
    page.set("trace_fprobe", page.event, fp__exit_handler=1, fp__nr_maxactive=7)
    assert page.lines() == ["f7:mine/f vfs_read%return\n"]
    page.set("trace_fprobe", page.event, fp__exit_handler=0, tpoint=1)
    assert page.lines() == ["t:mine/f vfs_read\n"]


def named(page: Page, group: str, event: str) -> int:
    """A ``struct trace_probe_event`` of that name."""
    at = page.put(0x900, bytes(8))
    names = {"call__name": page.text(event), "class__system": page.text(group)}
    page.set("trace_probe_event", at, **names)
    return at
