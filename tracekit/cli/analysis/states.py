"""``tracekit states``: what tasks did, and what CPUs ran."""

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

_WHOSE = (Column("boot", "boot", "count"), Column("pid", "pid", "text"),
          Column("task", "comm", "text"))  # fmt: skip
_TIMES = (
    Column("running", "running_ns"), Column("runnable", "runnable_ns"),
    Column("preempted", "preempted_ns"), Column("sleeping", "sleeping_ns"),
    Column("uninterr.", "uninterruptible_ns"), Column("idle", "idle_ns"),
    Column("stopped", "stopped_ns"), Column("other", "other_ns"), Column("unknown", "unknown_ns"),
    Column("turns", "turns", "count"),
)  # fmt: skip
_LIST = (
    Column("from (s)", "start_ns", "at"), Column("for", "duration_ns"), *_WHOSE,
    Column("state", "state", "text"), Column("cpu", "cpu", "text"),
    Column("woken by", "waker_comm", "text"), Column("in", "waker_context", "text"),
    Column("", "why", "text"),
)  # fmt: skip
_CPUS = (
    Column("boot", "boot", "count"), Column("cpu", "cpu", "count"),
    Column("from (s)", "start_ns", "at"), Column("for", "duration_ns"),
    Column("pid", "pid", "text"), Column("task", "comm", "text"), Column("", "why", "text"),
)  # fmt: skip


def _why(inferred: bool, cut: bool) -> str:
    return ", ".join(["inferred"] * inferred + ["events were lost meanwhile"] * cut)


@click.command("states")
@click.argument("session", type=click.Path(readable=False))
@click.option("--list", "listed", is_flag=True, help="Every state, by task and time.")
@click.option("--cpus", is_flag=True, help="What each CPU ran, turn by turn.")
@selection_options
@form_options
def command(
    session: str, listed: bool, cpus: bool, phase: str | None, as_json: bool, as_csv: bool,
    most: int, **filters: Any,
) -> None:  # fmt: skip
    """How long each task of SESSION ran, was runnable and slept, and how.

    preempted: it had to leave its CPU and could have gone on. uninterr.: D, it cannot be woken by a
    signal. unknown: between its first and its last state, where nothing tells. What is inferred
    (the state at either end of the record; a sleep whose wakeup was not recorded) counts, and is
    marked in --list and --cpus.

    \b
      tracekit states SESSION --comm kexec --phase 'device shutdown'
      tracekit states SESSION --list --pid 76 --from -10ms
      tracekit states SESSION --cpus --cpu 0 --from -1ms     what CPU 0 ran last
    """
    form: dict[str, Any] = {"as_json": as_json, "as_csv": as_csv, "most": most}
    with selected(session, phase, filters) as chosen:
        recording = chosen.recording
        if "sched:sched_switch" not in recording.event_names:
            say("sched:sched_switch was not recorded: what tasks did is unknown")
        about: dict[str, Any] = {"session": session, "since": chosen.wanted.since,
                                 "until": chosen.wanted.until}  # fmt: skip
        analysis = recording.analysis
        if not (listed or cpus):
            table = analysis.time_in_states(chosen.wanted)
            print_table(table, (*_WHOSE, *_TIMES), about=about, **form)
            return
        from tracekit.ftrace.columns import as_strings

        table = analysis.turns(chosen.wanted) if cpus else analysis.states(chosen.wanted)
        marks = zip(table["inferred"].to_pylist(), table["cut"].to_pylist(), strict=True)
        table = table.append_column("why", as_strings([_why(*pair) for pair in marks]))
        print_table(table, _CPUS if cpus else _LIST, about=about, **form)
