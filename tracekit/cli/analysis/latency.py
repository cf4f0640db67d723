"""``tracekit latency``: from a wakeup to the CPU, and other waits."""

from __future__ import annotations

from typing import Any

import click

from tracekit.cli.analysis.shared import (
    Column,
    form_options,
    print_table,
    selected,
    selection_options,
)
from tracekit.cli.common import say

__all__ = ["command"]

_TIMES = (
    Column("", "name", "text"), Column("count", "count", "count"), Column("mean", "mean_ns"),
    Column("p50", "p50_ns"), Column("p99", "p99_ns"), Column("max", "max_ns"),
    Column("worst at (s)", "max_at_ns", "at"),
)  # fmt: skip
_WORST = (
    Column("woken at (s)", "start_ns", "at"), Column("waited", "duration_ns"),
    Column("boot", "boot", "count"), Column("cpu", "cpu", "count"), Column("pid", "pid", "text"),
    Column("task", "comm", "text"), Column("woken by", "waker_comm", "text"),
    Column("in", "waker_context", "text"), Column("", "why", "text"),
)  # fmt: skip


@click.command("latency")
@click.argument("session", type=click.Path(readable=False))
@click.option(
    "--by", type=click.Choice(["task", "cpu", "waker"]), default="task", show_default=True,
    help="Whose wakeups: of each task, on each CPU, by each waker.",
)  # fmt: skip
@click.option("--worst", is_flag=True, help="The wakeups themselves, the longest wait first.")
@selection_options
@form_options
def command(
    session: str, by: str, worst: bool, phase: str | None, as_json: bool, as_csv: bool, most: int,
    **filters: Any,
) -> None:  # fmt: skip
    """How long tasks of SESSION waited for a CPU after they were woken.

    From sched_waking (sched_wakeup where that was not recorded) to the switch to the task. Only a
    task is named as the waker; in an interrupt nobody is. Softirqs and work items wait, too:
    tracekit stats --by softirq-wait, --by work-wait.

    \b
      tracekit latency SESSION                       each task's wakeups
      tracekit latency SESSION --worst --cpu 1       the longest waits on CPU 1, and who woke
      tracekit latency SESSION --by waker --comm kexec
    """
    with selected(session, phase, filters) as chosen:
        recording = chosen.recording
        if "sched:sched_switch" not in recording.event_names:
            say("sched:sched_switch was not recorded: when tasks ran is unknown")
        elif not {"sched:sched_waking", "sched:sched_wakeup"} & {*recording.event_names}:
            say("neither sched:sched_waking nor sched_wakeup was recorded: wakeups are unknown")
        about: dict[str, Any] = {"session": session, "since": chosen.wanted.since,
                                 "until": chosen.wanted.until}  # fmt: skip
        form: dict[str, Any] = {"as_json": as_json, "as_csv": as_csv, "most": most}
        if not worst:
            table = recording.analysis.latency(by, chosen.wanted)
            print_table(table, _TIMES, about={**about, "by": by}, **form)
            return
        from tracekit.ftrace.columns import as_strings

        table = recording.analysis.wakeups(chosen.wanted).sort_by([("duration_ns", "descending")])
        why = ["events were lost meanwhile" if cut else "" for cut in table["cut"].to_pylist()]
        table = table.append_column("why", as_strings(why))
        print_table(table, _WORST, about=about, **form)
