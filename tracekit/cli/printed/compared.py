"""Runs beside each other as people read them: mirrored bars, what differs, one sentence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.text import Text

from tracekit.cli.printed.table import PlainTable
from tracekit.runs.bars import mirrored
from tracekit.runs.check import Checked
from tracekit.runs.pair import Difference, Pair, signed
from tracekit.runs.run import Figure, Kind, Run
from tracekit.runs.sets import Change, Comparison, Spread
from tracekit.text import duration, error_bound, on_one_line, printable

__all__ = ["checked_lines", "render_comparison", "render_pair"]

_TITLES = (("total", "totals"), ("phase", "phases"), ("device", "devices"),
           ("initcall", "initcalls"), ("unit", "units"))  # fmt: skip
_MOST = 10  # of a kind, those that differ most
_ALL = ("total", "phase")
_BAR = 14  # cells of a bar
_STYLES = {
    "more": "bold red", "less": "bold green", "only in A": "yellow", "only in B": "yellow",
    "new": "yellow", "vanished": "yellow", "apart": "bold",
}  # fmt: skip


def _table(*columns: str) -> PlainTable:
    """Columns that begin with ``>`` are aligned to the right."""
    return PlainTable(*((c.lstrip(">"), "n" if c.startswith(">") else "t") for c in columns))


def _took(figure: Figure | None) -> str:
    if figure is None:
        return "-"
    return duration(figure.ns) if figure.finished else "never returned"


def _difference(d: Difference) -> tuple[str, str]:
    if d.delta_ns is None:
        return "", d.judged
    return f"{signed(d.delta_ns)} {error_bound(d.error_ns)}", d.judged


def _about(name: str, run: Run) -> Iterator[Text]:
    yield Text(printable(f"{name}  {on_one_line(run.title)}"), style="bold")
    lost = "unknown" if run.lost is None else f"{run.lost:,}"
    yield Text(printable(on_one_line(
        f"   Linux {run.old_kernel} → {run.kernel}, {run.way}, clock {run.clock}, "
        f"{run.host_type}; record {run.verdict}, {lost} lost"
    )))  # fmt: skip


def _pair_table(differences: Sequence[Difference]) -> PlainTable:
    table = _table("", ">A", ">", "", ">B", ">difference", "")
    longest = max((d.longest_ns for d in differences), default=0) or 1
    for d in differences:
        left, right = mirrored(d.a.ns if d.a else None, d.b.ns if d.b else None, longest, _BAR)
        text, judged = _difference(d)
        style = _STYLES.get(d.judged, "dim")
        name = on_one_line(d.name) + (f" ({d.b.count} calls)" if d.b and d.b.count > 1 else "")
        table.add_row(
            Text(f"  {name}", "" if d.sure else "dim"), _took(d.a), Text(left, "cyan"),
            Text(right, "magenta"), _took(d.b), Text(text, style), Text(judged, style),
        )  # fmt: skip
    return table


def _some(items: Sequence[Difference], kind: str) -> Sequence[Difference]:
    return items if kind in _ALL else items[:_MOST]


def render_pair(pair: Pair, console: Console) -> None:
    """Both runs, what differs of each kind, and the sentence."""
    for line in (*_about("A", pair.a), *_about("B", pair.b)):
        console.print(line)
    for kind, title in _TITLES:
        every = [d for d in pair.differences if d.kind == kind]
        if not every:
            continue
        console.print()
        console.print(Text(title, style="bold"))
        console.print(_pair_table(_some(every, kind)))
        left = len(every) - len(_some(every, kind))
        if left:
            sure = sum(d.sure for d in every[_MOST:])
            console.print(Text(f"  … and {left} more, {sure} of them beyond the clocks' errors: "
                               "--json has them all", style="dim"))  # fmt: skip
    console.print()
    console.print(Text(printable(pair.sentence), style="bold"))


# -- sets -------------------------------------------------------------------------------------


def _spread(s: Spread) -> str:
    if s.median_ns is None:
        return "-" if not s.seen else "unknown"
    return f"{duration(s.median_ns)} ({duration(s.low_ns)} to {duration(s.high_ns)})"


def _seen(s: Spread) -> str:
    return str(s.n) if s.n == s.runs else f"{s.n} of {s.runs}"


def _p(change: Change) -> str:
    return "" if change.p_adjusted is None else f"{change.p_adjusted:.2g}"


def _change_table(changes: Sequence[Change]) -> PlainTable:
    table = _table("", ">A: median (quartiles)", ">n", ">B: median (quartiles)", ">n",
                   ">difference", ">p", "")  # fmt: skip
    for c in changes:
        style = _STYLES.get(c.found, "dim")
        delta = "" if c.delta_ns is None else signed(round(c.delta_ns))
        table.add_row(
            Text(f"  {on_one_line(c.name)}", "" if c.beyond_noise else "dim"),
            _spread(c.a), _seen(c.a), _spread(c.b), _seen(c.b),
            Text(delta, style), _p(c), Text(c.found, style),
        )  # fmt: skip
    return table


def _facts(name: str, runs: Sequence[Run]) -> Text:
    def counted(values: Sequence[str]) -> str:
        counts = {v: values.count(v) for v in dict.fromkeys(values)}
        return ", ".join(f"{v} ({n})" if len(counts) > 1 else v for v, n in counts.items())

    about = (f"{len(runs)} handovers; kernel {counted([r.kernel for r in runs])}; "
             f"clock {counted([r.clock for r in runs])}; "
             f"{counted([r.host_type for r in runs])}")  # fmt: skip
    return Text(printable(on_one_line(f"{name}  {about}")), style="bold")


def _shown(changes: Sequence[Change], kind: Kind | str) -> Sequence[Change]:
    if kind in _ALL:
        return changes
    beyond = [c for c in changes if c.beyond_noise]
    return [*beyond[:_MOST], *[c for c in changes if not c.beyond_noise][: max(0, 3 - len(beyond))]]


def render_comparison(comparison: Comparison, console: Console) -> None:
    """Both sets, what changed of each kind, and the sentence."""
    if comparison.group:
        console.print(Text(printable(on_one_line(comparison.group)), style="bold underline"))
    console.print(_facts(comparison.name_a, comparison.a))
    console.print(_facts(comparison.name_b, comparison.b))
    for kind, title in _TITLES:
        every = [c for c in comparison.changes if c.kind == kind]
        if not every:
            continue
        shown = _shown(every, kind)
        console.print()
        console.print(Text(title, style="bold"))
        console.print(_change_table(shown))
        if len(every) > len(shown):
            beyond = sum(c.beyond_noise for c in every) - sum(c.beyond_noise for c in shown)
            console.print(Text(f"  … and {len(every) - len(shown)} more, {beyond} of them beyond "
                               "noise: --json has them all", style="dim"))  # fmt: skip
    console.print()
    console.print(Text(printable(comparison.sentence), style="bold"))


# -- a budget ---------------------------------------------------------------------------------

_MARKS = {"held": "ok", "close": "CLOSE", "broken": "OVER", "unknown": "UNKNOWN"}


def checked_lines(checked: Sequence[Checked], source: str, *, every: bool) -> Iterator[str]:
    """What was not held, with the line of the budget; what was, too, where ``every``."""
    for one in checked:
        if one.state == "held" and not every:
            continue
        where = f"{one.run}: " if one.run else ""
        line = f"{_MARKS[one.state]:<7}  {source}:{one.line}: {where}{one.title}: {one.message}"
        yield on_one_line(line)
