"""The tables of statistics: interrupts, system calls, wakeups, waits; and the tree of functions."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from tracekit.browse.figures import Call, Figure, spark
from tracekit.frozen import dataclass
from tracekit.query.expr import Compare, Contains, Value
from tracekit.text import duration, printable
from tui.sorted_table import Column, Sheet
from tui.theme import Look, fitted

__all__ = [
    "KINDS",
    "CallTree",
    "Node",
    "about_figure",
    "figure_sheet",
    "filter_of_figure",
    "flames",
]

#: Title of a table -> what it counts, and why it may be empty.
KINDS = {
    "Spans": ("span", "nothing that begins and ends was recorded here"),
    "Irqs": ("irq", "no interrupt was recorded here (irq:irq_handler_entry and _exit)"),
    "Syscalls": ("syscall", "no system call was recorded here (syscalls:* or raw_syscalls:*)"),
    "Wakeups": ("wakeups", "no wakeup was recorded here (sched:sched_waking or sched_wakeup)"),
    "Waits": ("waits", "no task was seen waiting here (sched:sched_switch)"),
}
_FUNCTIONS = "no call was recorded here (the tracer function_graph)"
_FLAMES = 6  # lines of the strip


def figure_sheet(title: str) -> Sheet:
    """A table of :class:`~tracekit.browse.figures.Figure`, to be filled."""
    return Sheet(
        title,
        (
            Column("task and state" if title == "Waits" else title[:-1].lower(),
                   lambda f: f.name, lambda f: f.name, 20, right=False, falling=False),
            Column("count", lambda f: f"{f.count:,}", lambda f: f.count, 8),
            Column("total", lambda f: duration(f.total), lambda f: f.total, 9),
            Column("", lambda f: "", lambda f: f.share, rank=1, bar=lambda f: f.share),
            Column("mean", lambda f: duration(f.mean), lambda f: f.mean, 8, rank=3),
            Column("p50", lambda f: duration(f.p50), lambda f: f.p50, 8, rank=4),
            Column("p99", lambda f: duration(f.p99), lambda f: f.p99, 8, rank=2),
            Column("worst", lambda f: duration(f.most), lambda f: f.most, 9),
            Column("open", lambda f: str(f.open or ""), lambda f: f.open, 4, rank=5),
        ),
        sort=2,
        empty="counting …",
        style=lambda f: "bad" if f.open else "",
    )  # fmt: skip


def about_figure(figure: Figure) -> str:
    """The histogram of a row in one line, and where its worst instance is."""
    parts = []
    if figure.histogram:
        least, most = figure.histogram[0][0], figure.histogram[-1][1]
        parts.append(f"{duration(least)} {spark(figure.histogram)} {duration(most)}")
    if figure.worst_at is not None:
        parts.append(
            f"worst {duration(figure.most)} at {duration(figure.worst_at)}: enter shows it"
        )
    if figure.open:
        parts.append(f"{figure.open:,} begun, never ended")
    if figure.cut:
        parts.append(f"events were lost in {figure.cut:,}")
    return "   ".join(parts)


def filter_of_figure(title: str, figure: Figure) -> str:
    """The expression for the events of a row."""
    if title == "Irqs" and figure.name.partition(" ")[0].isdigit():
        number = int(figure.name.partition(" ")[0])
        return str(Compare("irq", "=", (Value.of(number),)))
    if title in ("Wakeups", "Waits"):
        task = figure.name.partition(" (boot")[0].partition(": ")[0]
        pid = task.rpartition("-")[2]
        if pid.isdigit():
            return str(Compare("pid", "=", (Value.of(int(pid)),)))
    return str(Contains(figure.name))


# -- functions ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Node:
    """A line of the tree; ``sign``: whether it can be opened, or is."""

    number: int
    place: int
    call: Call
    sign: str
    share: float


class CallTree:
    """The calls, of which those are shown whose callers are open."""

    def __init__(self) -> None:
        self._calls: Sequence[Call] = ()
        self._inner: dict[int, list[int]] = {}
        self._open: set[int] = set()
        self.sheet = Sheet(
            "Functions",
            (
                Column("function", lambda n: f"{'  ' * n.call.depth}{n.sign} {n.call.function}",
                       lambda n: n.place, 30, right=False, falling=False),
                Column("calls", lambda n: f"{n.call.count:,}", lambda n: n.place, 8, falling=False),
                Column("total", lambda n: duration(n.call.total), lambda n: n.place, 9,
                       falling=False),
                Column("", lambda n: "", lambda n: n.place, rank=1, bar=lambda n: n.share,
                       falling=False),
                Column("alone", lambda n: duration(n.call.alone), lambda n: n.place, 9, rank=2,
                       falling=False),
            ),
            falling=False,
            empty="counting …",
        )  # fmt: skip

    @property
    def calls(self) -> Sequence[Call]:
        """All of them, parents before their children."""
        return self._calls

    def fill(self, calls: Sequence[Call]) -> None:
        """Show these; the outermost one that took longest is open."""
        self._calls, self._inner = calls, {}
        for number, call in enumerate(calls):
            self._inner.setdefault(call.parent, []).append(number)
        self._open = set(self._inner.get(-1, ())[:1])
        self.sheet.empty = _FUNCTIONS
        self._show()

    def turn(self, node: Node) -> None:
        """Open a line, or close it."""
        self._open ^= {node.number}
        cursor = self.sheet.cursor
        self._show()
        self.sheet.cursor = cursor

    def _show(self) -> None:
        whole = sum(self._calls[n].total for n in self._inner.get(-1, ())) or 1
        nodes: list[Node] = []
        left = self._inner.get(-1, [])[::-1]
        while left:
            number = left.pop()
            inner = self._inner.get(number, [])
            sign = " " if not inner else "▾" if number in self._open else "▸"
            call = self._calls[number]
            nodes.append(Node(number, len(nodes), call, sign, call.total / whole))
            left += inner[::-1] if number in self._open else []
        self.sheet.fill(nodes)


def flames(calls: Sequence[Call], width: int, look: Look) -> Text:
    """The calls as a flame graph, the outermost on top: as wide as they took long."""
    whole = sum(call.total for call in calls if call.parent < 0)
    if not whole or width < 10:
        return Text("")
    starts: dict[int, float] = {-1: 0.0}
    lines = [Text(no_wrap=True) for _ in range(_FLAMES)]
    used = dict.fromkeys(range(-1, len(calls)), 0.0)
    for number, call in enumerate(calls):
        begin = starts.get(call.parent)
        if begin is None or call.depth >= _FLAMES:
            continue
        begin += used[call.parent]
        used[call.parent] += call.total * width / whole
        starts[number] = begin
        first, last = round(begin), round(begin + call.total * width / whole)
        line = lines[call.depth]
        if last <= first or first < line.cell_len:
            continue
        line.append(" " * (first - line.cell_len))
        name = fitted(f"▏{printable(call.function)}", last - first)
        line.append(name, look.of_task(call.function) + look.reversed)
    return Text("\n").join([line for line in lines if line.cell_len])
