"""What tables are of: counts and times of a part agree with plain sums over the rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from importlib.resources import as_file, files

import numpy as np
import pytest

from tracekit.browse.figures import Figure, figures_of, spark
from tracekit.browse.open import Opened, open_recording
from tracekit.browse.stats import count_all, running_times
from tracekit.browse.subject import Subject, count_subject, rows_of, times_of
from tracekit.query.expr import parse
from tracekit.query.match import matches
from tracekit.query.selection import Selection
from tracekit.timeline.filter import Filter

_SPAN = (-5_350_340, -1_195_762)


def _quiet(*_: object) -> None:
    pass


@pytest.fixture(scope="module")
def opened() -> Iterator[Opened]:
    with as_file(files("tracekit") / "demo" / "handover.tar.zst") as shipped:
        yield open_recording(shipped, _quiet)


def _selected(opened: Opened, where: str) -> Selection:
    every = np.arange(len(opened.recording))
    rows = np.flatnonzero(matches(opened.recording, parse(where), every)).astype(np.uint32)
    return Selection(len(every), rows if where else None)


def test_everything_is_what_the_index_counts(opened: Opened) -> None:
    recording, report = opened.recording, opened.report
    rows = rows_of(Subject(), recording.axis.ts_ns, Selection(len(recording)))
    mine = count_subject(recording, report, rows, _quiet)
    whole = count_all(recording, report, opened.index, _quiet)
    assert {(e.boot, e.name): (e.events, e.cpus, e.first_row) for e in mine.events} == {
        (e.boot, e.name): (e.events, e.cpus, e.first_row) for e in whole.events
    }
    assert {(t.boot, t.pid): t for t in mine.tasks} == {(t.boot, t.pid): t for t in whole.tasks}
    ran, known = (
        times_of(recording, Subject()).tasks,
        running_times(recording, opened.index, _quiet).tasks,
    )
    for task, time in known.items():
        assert ran[task].ns >= time.ns  # also before the first switch and after the last


@pytest.mark.parametrize("where", ["", "cpu = 0", "event ~ device:*"])
def test_a_part_is_counted_as_a_plain_loop_does(opened: Opened, where: str) -> None:
    recording = opened.recording
    subject = Subject(_SPAN, where)
    rows = rows_of(subject, recording.axis.ts_ns, _selected(opened, where))
    table = recording.timeline.take(list(rows)).to_pylist()
    assert table and all(_SPAN[0] <= row["ts_ns"] <= _SPAN[1] for row in table)
    counts = count_subject(recording, opened.report, rows, _quiet)
    assert {e.name: e.events for e in counts.events} == Counter(row["event"] for row in table)
    assert {t.pid: t.events for t in counts.tasks} == Counter(row["pid"] for row in table)
    assert {c.account.cpu: c.account.events for c in counts.cpus} == Counter(
        row["cpu"] for row in table
    )
    assert len(rows) == len(recording.select(subject.wanted))


def test_the_time_on_cpus_is_cut_to_the_stretch(opened: Opened) -> None:
    times = times_of(opened.recording, Subject(_SPAN))
    for cpu in times.cpus.values():
        assert _SPAN[0] <= cpu.first_ns <= cpu.last_ns <= _SPAN[1]
    total = sum(task.ns for task in times.tasks.values())
    assert total <= 2 * (_SPAN[1] - _SPAN[0])
    assert times.tasks[0, 76].ns > 4_000_000


def test_the_worst_interrupt_is_the_one_that_took_longest(opened: Opened) -> None:
    rows, aside = figures_of(opened.recording, "irq", Subject())
    assert not aside
    begun: dict[tuple[int, int, int], int] = {}
    took: dict[int, list[tuple[int, int]]] = {}
    for row, event in enumerate(opened.recording.timeline.to_pylist()):
        if not event["event"].startswith("irq:irq_handler"):
            continue
        irq = opened.recording.fields(np.array([row]))[0]["irq"]
        key = (event["boot"], event["cpu"], irq)
        if event["event"].endswith("entry"):
            begun[key] = row
        elif key in begun:
            first = begun.pop(key)
            ts = opened.recording.axis.ts_ns
            took.setdefault(irq, []).append((int(ts[row] - ts[first]), first))
    assert {int(f.name.split()[0]): (f.count, f.most) for f in rows} == {
        irq: (len(all_), max(all_)[0]) for irq, all_ in took.items()
    }
    for figure in rows:
        assert sum(n for _, _, n in figure.histogram) == figure.count
        assert (figure.most, figure.worst_row) in took[int(figure.name.split()[0])]


def test_a_filter_that_chooses_events_does_not_choose_waits() -> None:
    assert Subject(None, "cpu = 1 and pid in (7, 8)").of_tasks == (
        Filter(cpus=frozenset({1}), pids=frozenset({7, 8})), True,
    )  # fmt: skip
    assert Subject((1, 2), "comm ~ k* and event = x").of_tasks == (
        Filter(comms=("k*",), since=1, until=2), False,
    )  # fmt: skip


def test_waits_are_cut_to_the_stretch(opened: Opened) -> None:
    rows, _ = figures_of(opened.recording, "waits", Subject(_SPAN))
    assert rows and all((f.most or 0) <= _SPAN[1] - _SPAN[0] for f in rows)
    assert isinstance(rows[0], Figure)


def test_a_spark_shows_the_least() -> None:
    assert spark([(0, 0, 1000), (1, 1, 0), (2, 3, 1)]) == "█ ▁"
    assert spark([]) == ""
