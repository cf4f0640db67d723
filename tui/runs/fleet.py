"""``tracekit fleet show``: the distribution of a fleet's blackouts, its outliers, its tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Static

from tracekit.fleet.answers import HEADS, Report, cell, sentence
from tracekit.text import duration, on_one_line
from tui.bars import KeyLine
from tui.host import look_of
from tui.runs.base import RunsApp
from tui.sorted_table import Column, Sheet, SortTable
from tui.theme import RAMP

__all__ = ["FleetApp", "Outliers"]

_TABLES = ("phases", "devices", "initcalls", "units", "trends", "losses")


@dataclass(frozen=True)
class Outliers:
    """``counts`` of the blackouts from ``least_ns`` to ``most_ns``, and the handovers farthest out.

    A row has ``blackout_ns``, ``away`` (in quartile ranges from the median of its kernel),
    ``kernel``, ``host``, ``date``, ``clock``, ``verdict``, ``path``.
    """

    counts: Sequence[int]
    least_ns: int
    most_ns: int
    rows: Sequence[dict[str, Any]]


def _value(name: str) -> Callable[[Any], Any]:
    return lambda row: row[name]


def _column(name: str, rank: int) -> Column:
    right = name.endswith("_ns") or name in ("handovers", "timed", "lost", "complete")
    title = name.removesuffix("_ns").replace("_", " ")

    def text(row: Any) -> str:
        return on_one_line(cell(name, row[name]))

    def key(row: Any) -> Any:
        value = row[name]
        return ", ".join(map(str, value)) if isinstance(value, list) else value

    return Column(title, text, key, 9 if right else 10, rank, right, right)


def _outliers(rows: Sequence[dict[str, Any]]) -> Sheet:
    columns = [
        Column("blackout", lambda r: duration(r["blackout_ns"]), _value("blackout_ns"), 9),
        Column("away", lambda r: f"{r['away']:.1f}", _value("away"), 6),
        Column("kernel", lambda r: r["kernel"], _value("kernel"), 8, 0, False, False),
        Column("host", lambda r: r["host"], _value("host"), 8, 0, False, False),
        Column("date", lambda r: r["date"], _value("date"), 10, 1, False, False),
        Column("record", lambda r: r["verdict"], _value("verdict"), 10, 2, False, False),
        Column("session", lambda r: r["path"], _value("path"), 10, 3, False, False),
    ]
    sheet = Sheet("Outliers", columns, sort=1, empty="no blackout is known")
    sheet.fill(rows)
    return sheet


def _suspects(report: Report) -> Sheet:
    columns = [Column("slower than its peers", sentence, lambda s: s.delta_ns, 40, 0, False)]
    sheet = Sheet("Suspects", columns, empty="nothing is slower than its peers beyond noise")
    sheet.fill(report.suspects)
    return sheet


def _sheets(report: Report, outliers: Outliers) -> list[Sheet]:
    sheets = [_outliers(outliers.rows), _suspects(report)]
    for name in _TABLES:
        title, columns = HEADS[name]
        first = columns.index("p50_ns") if "p50_ns" in columns else 0
        sheet = Sheet(title, [_column(c, i) for i, c in enumerate(columns)], sort=first,
                      empty="nothing of that was recorded")  # fmt: skip
        sheet.fill(report.answers[name])
        sheets.append(sheet)
    bad = Sheet("Left out", [
        Column("session", _value("path"), _value("path"), 20, 1, False, False),
        Column("reason", _value("reason"), _value("reason"), 20, 0, False, False),
    ], empty="every session is in it")  # fmt: skip
    bad.fill([{"path": on_one_line(p), "reason": on_one_line(r)} for p, r in report.bad])
    return [*sheets, bad]


class _Histogram(Static):
    """How the blackouts are spread."""

    def __init__(self, outliers: Outliers, title: str) -> None:
        super().__init__(id="fleet-head")
        self._outliers = outliers
        self._about = title

    def render(self) -> Text:
        """The title, a line of bars, and its scale."""
        look, o = look_of(self), self._outliers
        text = Text(
            f" {on_one_line(self._about)}\n", look.strong, no_wrap=True, overflow="ellipsis"
        )
        if not o.counts:
            return text.append(" no blackout is known", look.dim)
        cells = max(10, min(len(o.counts), self.size.width - 2))
        per = -(-len(o.counts) // cells)
        sums = [sum(o.counts[i : i + per]) for i in range(0, len(o.counts), per)]
        most = max(sums)
        bars = "".join(RAMP[-(-n * (len(RAMP) - 1) // most)] for n in sums)
        text.append(f" {bars}\n", look.old)
        right = duration(o.most_ns)
        left = f"{duration(o.least_ns)}  blackout, {sum(o.counts):,} handovers"
        room = max(1, len(bars) - len(left) - len(right))
        return text.append(f" {left}{' ' * room}{right}", look.dim)


class _Titles(Static):
    """The tables' names."""

    def show(self, sheets: Sequence[Sheet], current: int) -> None:
        """Draw them, from one before the current on, so that it is always seen."""
        look, text = look_of(self), Text(" ", no_wrap=True, overflow="ellipsis")
        for i, sheet in list(enumerate(sheets))[max(0, current - 1) :]:
            here = i == current
            text.append(f"{'▸' if here else ' '}{sheet.title}", look.heading if here else look.dim)
            text.append(f" {len(sheet.rows):,}  ", look.dim)
        self.update(text)


class _Table(SortTable):
    """Its rows lead to sessions."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "Open session"),
        Binding("space", "choose", show=False),
    ]


class FleetApp(RunsApp):
    """Shows a fleet; Enter on a handover ends it in its session."""

    keys = (
        (
            "A fleet",
            (
                ("↑ ↓  j k", "choose a line"),
                ("← →  h l  tab", "other table"),
                ("enter  space", "open the session of the handover"),
            ),
        ),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,l,tab", "other(1)", "Table", key_display="← →"),
        Binding("left,h,shift+tab", "other(-1)", show=False),
    ]

    def __init__(self, report: Report, outliers: Outliers, title: str) -> None:
        super().__init__()
        self._sheets = _sheets(report, outliers)
        self._outliers = outliers
        self._about = title
        self._current = 0

    def compose(self) -> ComposeResult:
        yield _Histogram(self._outliers, self._about)
        yield _Titles(id="fleet-titles")
        yield _Table(id="table")
        yield Static("", id="table-note", markup=False)
        yield KeyLine()

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one(SortTable).focus()
        self.call_after_refresh(self.action_other, 0)

    @property
    def sheet(self) -> Sheet:
        """The table that is shown."""
        return self._sheets[self._current]

    def action_other(self, by: int) -> None:
        """Show the next table."""
        self._current = (self._current + by) % len(self._sheets)
        self.query_one(_Titles).show(self._sheets, self._current)
        self.query_one(SortTable).show_sheet(self.sheet)

    @on(SortTable.Selected)
    def _selected(self) -> None:
        row = self.sheet.selected
        path = row.get("path", "") if isinstance(row, dict) else ""
        self.query_one("#table-note", Static).update(on_one_line(path))

    @on(SortTable.Chosen)
    def _chosen(self) -> None:
        row = self.sheet.selected
        if isinstance(row, dict) and row.get("path"):
            self.open_session(Path(row["path"]))
        else:
            self.say("no one session stands for it")
