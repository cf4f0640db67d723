"""``tracekit calls``: where the time went, as a tree of calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tracekit.cli.analysis.shared import selected, selection_options
from tracekit.cli.common import say, show, show_json
from tracekit.errors import UsageError
from tracekit.text import duration, on_one_line

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["command"]


def _lines(tree: pa.Table, weight: str, least: float, deepest: int | None) -> int:
    """Print a tree as indented lines, the heaviest first; returns how many nodes were left out."""
    rows = tree.to_pylist()
    inner: dict[int | None, list[int]] = {}
    for number, row in enumerate(rows):
        inner.setdefault(row["parent"], []).append(number)
    whole = sum(rows[n][weight] for n in inner.get(None, [])) or 1
    open_, left = sorted(inner.get(None, []), key=lambda n: rows[n][weight]), 0
    while open_:
        number = open_.pop()
        row = rows[number]
        if row[weight] < whole * least or (deepest is not None and row["depth"] >= deepest):
            left += 1
            continue
        times = f"{duration(row['total_ns']):>9} {duration(row['self_ns']):>9} "
        times = times if weight != "count" else f"{row['self_ns']:>9,} "
        share = f"{100 * row[weight] / whole:6.1f}% "
        name = on_one_line(row["function"])
        show(f"{share}{times}{row['count']:>9,}  {'  ' * row['depth']}{name}")
        open_ += sorted(inner.get(number, []), key=lambda n: rows[n][weight])
    return left


@click.command("calls")
@click.argument("session", type=click.Path(readable=False))
@click.option("--bottom-up", is_flag=True, help="From each function to its callers.")
@click.option(
    "--stacks", is_flag=True, help="Of the recorded stack traces, which count and take no time."
)
@click.option(
    "--folded", is_flag=True, help="Lines for flame graph tools: outer;inner NANOSECONDS."
)
@click.option(
    "--least", type=click.FloatRange(0, 100), default=0.5, show_default=True, metavar="PERCENT",
    help="As text: leave out what is less than this share.",
)  # fmt: skip
@click.option("--depth", type=click.IntRange(1), metavar="N", help="As text: so many levels.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts; times are ns.")
@selection_options
def command(
    session: str, bottom_up: bool, stacks: bool, folded: bool, least: float, depth: int | None,
    as_json: bool, phase: str | None, **filters: Any,
) -> None:  # fmt: skip
    """Where the time of SESSION went by the function graph, calls of the same kind as one.

    Columns: share, total (with what it called), self, calls, function. The time is what the kernel
    measured, sleep included unless the trace option sleep-time was off. A call is chosen by the
    event that entered it.

    \b
      tracekit calls SESSION --phase 'device shutdown'          top-down
      tracekit calls SESSION --bottom-up                        which functions took it themselves
      tracekit calls SESSION --folded | flamegraph.pl > f.svg
      tracekit calls SESSION --stacks --bottom-up               recorded stack traces
    """
    if folded and (bottom_up or as_json):
        raise UsageError("--folded is a form of its own: leave out --bottom-up and --json")
    with selected(session, phase, filters) as chosen:
        analysis = chosen.recording.analysis
        tree = (analysis.stacks if stacks else analysis.calls)(chosen.wanted, upwards=bottom_up)
        weight = "count" if stacks else "self_ns" if bottom_up else "total_ns"
        if as_json:
            about = {"session": session, "since": chosen.wanted.since,
                     "until": chosen.wanted.until}  # fmt: skip
            show_json({**about, "rows": tree.to_pylist()})
        elif not len(tree):
            wanted = "stack traces" if stacks else "calls of the function graph"
            say(f"no {wanted} are in the selection")
        elif folded:
            from tracekit.analysis.calls import folded as fold

            for line in fold(tree):
                show(line)
        else:
            heads = "     self" if stacks else "    total      self"
            show(f"{'share':>7} {heads} {'calls':>9}  function")
            left = _lines(tree, weight, least / 100, depth)
            if left:
                say(f"{left:,} branches are less than {least}% or deeper: --least 0 prints all")
