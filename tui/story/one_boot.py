"""The story of a session without a jump: how many events when, who ran, what took the time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tracekit.browse.figures import Call, calls_of, spark
from tracekit.browse.stats import Counts, Times, count_all, running_times
from tracekit.browse.subject import Subject
from tracekit.query.groups import cell_counts, cell_edges
from tracekit.text import duration
from tui.jobs import Job
from tui.model import Model
from tui.story.spans import Bar, Heading

__all__ = ["OneBoot", "gather", "one_boot_lines"]

_CELLS = 60
_MOST = 10


@dataclass(frozen=True)
class OneBoot:
    """``rates``: how many events each of equal parts of the record has, ``cell_ns`` long."""

    rates: tuple[int, ...]
    cell_ns: float
    counts: Counts
    times: Times
    calls: tuple[Call, ...]


def gather(model: Model, job: Job) -> OneBoot:
    """Count and add up; takes long where there are many events."""
    (first, last), index = model.extent, model.index
    edges = cell_edges(model.ts_ns, first, last + 1, _CELLS).astype(np.uint32)
    counts = count_all(model.recording, model.report, index, job.step)
    times = running_times(model.recording, index, job.step)
    has_calls = "ftrace:funcgraph_entry" in model.recording.event_names
    calls = tuple(calls_of(model.recording, Subject())) if has_calls else ()
    rates = tuple(cell_counts(None, edges).tolist())
    return OneBoot(rates, (last - first) / _CELLS, counts, times, calls)


def one_boot_lines(found: OneBoot, model: Model) -> list[Heading | Bar | None]:
    """What the story shows of it."""
    return [*_rates(found), *_tasks(found, model), *_functions(found), *_events(found, model)]


def _rates(found: OneBoot) -> list[Heading | Bar | None]:
    most = max(found.rates, default=0)
    if not most or found.cell_ns <= 0:
        return []
    drawn = spark([(0, 0, n) for n in found.rates])
    mean = sum(found.rates) * 1e9 / (found.cell_ns * len(found.rates))
    peak = most * 1e9 / found.cell_ns
    least = duration(round(found.cell_ns))
    text = f"Events: {mean:,.0f} a second, at most {peak:,.0f} in {least}"
    return [Heading(text), Heading(f"  {drawn}"), None]


def _tasks(found: OneBoot, model: Model) -> list[Heading | Bar | None]:
    firsts = {(t.boot, t.pid): t for t in found.counts.tasks}
    ran = sorted(
        ((time, key) for key, time in found.times.tasks.items() if key[1] and key in firsts),
        key=lambda item: -item[0].ns,
    )[:_MOST]
    if not ran:
        return []
    bars: list[Heading | Bar | None] = []
    for time, key in ran:
        task = firsts[key]
        at = int(model.ts_ns[task.first_row])
        note = f"on a CPU, in {time.switches:,} turns; {task.events:,} events"
        bars.append(Bar(f"{task.comm or '<...>'}-{task.pid}", at, time.ns, note=note))
    return [Heading("Tasks that ran longest", longest=ran[0][0].ns), *bars, None]


def _functions(found: OneBoot) -> list[Heading | Bar | None]:
    alone: dict[str, list[int]] = {}
    for call in found.calls:
        mine = alone.setdefault(call.function, [0, 0])
        mine[0], mine[1] = mine[0] + call.alone, mine[1] + call.count
    most = sorted(alone.items(), key=lambda item: -item[1][0])[:_MOST]
    if not most:
        return []
    bars = [
        Bar(name, None, took, kind="new", note=f"its own time, in {count:,} calls", view="tables")
        for name, (took, count) in most
    ]
    return [Heading("Functions that took longest, alone", longest=most[0][1][0]), *bars, None]


def _events(found: OneBoot, model: Model) -> list[Heading | Bar | None]:
    bars = [
        Bar(
            f"{event.name}: {event.events:,}, {event.share:.1%}"
            + ("" if event.rate is None else f", {event.rate:,.0f} a second"),
            int(model.ts_ns[event.first_row]), None, took=" ", note="enter: the first one",
        )
        for event in found.counts.events[:_MOST]
    ]  # fmt: skip
    return [Heading("Most frequent events"), *bars, None] if bars else []
