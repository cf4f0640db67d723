"""``tracekit stats``: count, time and worst instance of a selection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tracekit.cli.analysis.shared import (
    Column,
    Selected,
    form_options,
    print_table,
    selected,
    selection_options,
    sorted_by,
    time_option,
)
from tracekit.cli.common import say, show
from tracekit.errors import UsageError
from tracekit.text import duration, printable

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["command"]

#: What ``--by`` takes, as :data:`tracekit.analysis.analysis.BY` has it; a test compares them.
BY = (
    "event", "system", "task", "cpu", "span", "irq", "vector", "ipi", "softirq", "tasklet",
    "timer", "csd", "syscall", "work", "function", "page-fault", "call", "notifier", "initcall",
    "device", "cpuhp", "block", "softirq-wait", "work-wait",
)  # fmt: skip
_SORTS = ("total", "count", "rate", "mean", "p50", "p99", "max", "self", "open", "name")
_EVENTS = (
    Column("", "name", "text"), Column("events", "count", "count"), Column("a second", "rate",
    "rate"), Column("first (s)", "first_ns", "at"), Column("last (s)", "last_ns", "at"),
    Column("apart p50", "p50_ns"), Column("p99", "p99_ns"), Column("longest", "max_ns"),
    Column("since (s)", "max_at_ns", "at"),
)  # fmt: skip
_TIMES = (
    Column("", "name", "text"), Column("count", "count", "count"), Column("a second", "rate",
    "rate"), Column("total", "total_ns"), Column("mean", "mean_ns"), Column("p50", "p50_ns"),
    Column("p99", "p99_ns"), Column("max", "max_ns"), Column("worst at (s)", "max_at_ns", "at"),
)  # fmt: skip
_SPANS = (
    Column("alone", "self_ns"), Column("never ended", "open", "count"),
    Column("unpaired", "unpaired", "count"),
)  # fmt: skip
_LIST = (
    Column("from (s)", "start_ns", "at"), Column("took", "duration_ns"), Column("alone", "self_ns"),
    Column("kind", "kind", "text"), Column("", "name", "text"), Column("boot", "boot", "count"),
    Column("cpu", "cpu", "count"), Column("pid", "pid", "text"), Column("task", "comm", "text"),
    Column("", "why", "text"),
)  # fmt: skip
_STATES = {"ended": "", "open": "never ended", "end lost": "its end was not recorded",
           "begin lost": "its begin was not recorded"}  # fmt: skip
_GAPS = (
    Column("boot", "boot", "count"), Column("cpu", "cpu", "count"), Column("from (s)", "start_ns",
    "at"), Column("to (s)", "end_ns", "at"), Column("no event for", "duration_ns"),
    Column("", "why", "text"),
)  # fmt: skip
_RATES = (
    Column("from (s)", "start_ns", "at"), Column("", "name", "text"),
    Column("count", "count", "count"),
)  # fmt: skip


def _print_list(chosen: Selected, by: str, form: dict[str, Any], about: dict[str, Any]) -> None:
    from tracekit.analysis.analysis import BY as KINDS
    from tracekit.ftrace.columns import as_strings

    if not KINDS[by]:
        raise UsageError(f"--list is of spans, not of --by {by}: see tracekit events and states")
    table = chosen.recording.analysis.spans(chosen.wanted)
    # what never ended is the first suspect of a hang, then what took longest
    columns = (table[name].to_pylist() for name in ("kind", "state", "duration_ns"))
    rank = [(k in KINDS[by], s == "open", d or 0) for k, s, d in zip(*columns, strict=True)]
    order = sorted((n for n, r in enumerate(rank) if r[0]), key=lambda n: rank[n], reverse=True)
    table = table.take(order)
    marks = zip(*(table[c].to_pylist() for c in ("state", "inferred", "cut")), strict=True)
    why = [", ".join([*([_STATES[s]] if _STATES[s] else []), *["end inferred"] * i,
                      *["events were lost inside"] * c]) for s, i, c in marks]  # fmt: skip
    table = table.append_column("why", as_strings(why))
    print_table(table, _LIST, about={**about, "by": by}, **form)


def _order(by: str, table: pa.Table, sort: str | None) -> pa.Table:
    if sort is None:
        return table
    wanted = sort if sort in ("name", "count", "rate", "open") else f"{sort}_ns"
    if wanted not in table.column_names:
        raise UsageError(f"--sort {sort}: --by {by} has no such column")
    return sorted_by(table, wanted)


def _remarks(chosen: Selected, by: str, table: pa.Table) -> None:
    """What the numbers do not tell by themselves."""
    names = chosen.recording.event_names
    if by in ("task", "cpu") and "sched:sched_switch" not in names:
        say("sched:sched_switch was not recorded: what the CPUs ran is unknown")
    if "cut" in table.column_names and (cut := sum(table["cut"].to_pylist())):
        say(f"{cut:,} of them have lost events inside: each may be two, or another")
    if "open" in table.column_names and (open_ := sum(table["open"].to_pylist())):
        say(
            f"{open_:,} began and never ended; they are in no time: tracekit stats --by {by} --list"
        )


def _histograms(table: pa.Table, most: int) -> None:
    from tracekit.analysis.statistics import histogram

    if "histogram" not in table.column_names:
        raise UsageError("--histogram is of durations: --by event and --by system have none")
    for row in table.slice(0, most or len(table)).to_pylist():
        buckets = histogram(row["histogram"] or [])
        if not buckets:
            continue
        show(f"{printable(row['name'])}: {row['count']:,}")
        largest = max(count for *_, count in buckets)
        for least, top, count in buckets:
            bar = "#" * -(-count * 50 // largest)
            show(f"  {duration(least):>8} to {duration(top):>8} {count:>10,} {bar}")


def _print_gaps(chosen: Selected, longer: int, form: dict[str, Any], about: dict[str, Any]) -> None:
    from tracekit.ftrace.columns import as_strings

    table = chosen.recording.analysis.gaps(longer, chosen.wanted)
    why = ["events were lost here" if cut else "" for cut in table["cut"].to_pylist()]
    table = table.append_column("why", as_strings(why))
    print_table(table, _GAPS, about={**about, "gaps_longer_than_ns": longer}, **form)


@click.command("stats")
@click.argument("session", type=click.Path(readable=False))
@click.option(
    "--by", type=click.Choice(BY), default="event", show_default=True, metavar="WHAT",
    help=f"What is counted, and apart from what else: {', '.join(BY)}.",
)  # fmt: skip
@click.option("--list", "listed", is_flag=True, help="The spans themselves: those that never"
              " ended first, then the longest.")  # fmt: skip
@click.option("--sort", type=click.Choice(_SORTS), help="The largest of this column first.")
@click.option("--histogram", "bars", is_flag=True, help="Print how many took how long, too.")
@click.option(
    "--every", metavar="TIME", help="How many began in each stretch of this length: a rate."
)
@click.option(
    "--gaps", metavar="TIME", help="Where a CPU has none of the chosen events for longer."
)
@selection_options
@form_options
def command(
    session: str, by: str, listed: bool, sort: str | None, bars: bool, every: str | None,
    gaps: str | None, phase: str | None, as_json: bool, as_csv: bool, most: int, **filters: Any,
) -> None:  # fmt: skip
    """Count, time and worst instance of what is selected of SESSION, by WHAT.

    A window (--from, --to, --phase) is cut out: of what reaches beyond it, the part inside counts.
    Everything else chooses events: a span by the event that began it, a turn on a CPU by any event
    in it. "worst at" is where to look: tracekit events --from.

    \b
    Which task ran longest on CPU 0 in the last 100 ms?
      tracekit stats SESSION --by task --cpu 0 --from -100ms --to 0
    Is there an irq storm?
      tracekit stats SESSION --by irq --sort rate
    Which system call took longest, and how are they spread?
      tracekit stats SESSION --by syscall --sort max --histogram
    What did device shutdown wait for?
      tracekit stats SESSION --by device --phase 'device shutdown'
    What began and never ended? (these come first)
      tracekit stats SESSION --by span --list
    When was CPU 1 silent for more than 10 ms?
      tracekit stats SESSION --gaps 10ms --cpu 1
    """
    form: dict[str, Any] = {"as_json": as_json, "as_csv": as_csv, "most": most}
    longer, step = time_option(gaps), time_option(every)
    if (longer is not None) + (step is not None) + listed > 1:
        raise UsageError("--gaps, --every and --list: one of them")
    with selected(session, phase, filters) as chosen:
        analysis = chosen.recording.analysis
        about: dict[str, Any] = {"session": session, "since": chosen.wanted.since,
                                 "until": chosen.wanted.until}  # fmt: skip
        if longer is not None:
            _print_gaps(chosen, longer, form, about)
            return
        if listed:
            _print_list(chosen, by, form, about)
            return
        if step is not None:
            table = analysis.rates(by, step, chosen.wanted)
            more = (Column("took", "total_ns"),) if "total_ns" in table.column_names else ()
            print_table(table, (*_RATES, *more), about={**about, "by": by, "every_ns": step},
                        **form)  # fmt: skip
            return
        table = _order(by, analysis.statistics(by, chosen.wanted), sort)
        columns: tuple[Column, ...] = _EVENTS if by in ("event", "system") else _TIMES
        columns += _SPANS if "open" in table.column_names else ()
        print_table(table, columns, about={**about, "by": by}, **form)
        if bars and not as_json and not as_csv:
            _histograms(table, most)
        _remarks(chosen, by, table)
