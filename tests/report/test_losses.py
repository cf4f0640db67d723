"""The account of every event, against a ring buffer that knows what it overwrote."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import tracekit
from tests.support.ring.event_payloads import function
from tests.support.ring.region_writer import TEXT_ADDR, RingBuffer, layout_615
from tests.support.session_trees import make_session, stats
from tracekit.timeline.saved.counters import parse_stats

US = 1000


def filled(events: int, nr_subbufs: int = 4) -> RingBuffer:
    """A ring after so many events, one each microsecond from 1 ms on."""
    ring = RingBuffer(nr_subbufs)
    for i in range(events):
        ring.write(1000 * US + i * US, function(TEXT_ADDR + 0x1000, TEXT_ADDR))
    return ring


def report(where: Path, ring: RingBuffer, text: str | None) -> object:
    name = "sys/kernel/tracing/instances/tk/per_cpu/cpu0/stats"
    files = {name: text} if text is not None else {}
    return tracekit.open(make_session(where, layout_615([ring]), files)).report().boots[0]


@pytest.mark.parametrize("events", [0, 1, 100, 250])
def test_a_ring_that_never_wrapped_lost_nothing(events: int, tmp_path: Path) -> None:
    ring = filled(events)
    assert ring.overwritten == 0
    boot = report(tmp_path, ring, None)
    assert (boot.events, boot.lost, boot.lost_at_least) == (events, 0, False)


def test_a_ring_that_is_just_full_may_have_come_round_or_not(tmp_path: Path) -> None:
    ring = filled(400)
    assert ring.overwritten == 0
    assert report(tmp_path / "a", ring, None).lost is None
    assert report(tmp_path / "b", ring, stats(ring.written, 0, 10**9)).lost == 0


@pytest.mark.parametrize("events", [600, 1000, 5000])
def test_overwritten_events_are_counted_exactly(events: int, tmp_path: Path) -> None:
    """Counters from after the last event: all that was written by then is accounted for."""
    ring = filled(events)
    assert ring.overwritten > 0
    text = stats(ring.written, ring.overwritten, 10**9)
    boot = report(tmp_path, ring, text)
    assert boot.events == len(list(ring.expected()))
    assert boot.events + boot.lost == ring.written == events
    assert not boot.lost_at_least


def test_counters_taken_before_the_end_are_exact_while_an_older_event_is_left(
    tmp_path: Path,
) -> None:
    """The snapshot is taken before the jump; what is written later overwrites older ones."""
    early = filled(900)
    ring = filled(1000)
    taken = 1000 * US + 899 * US
    boot = report(tmp_path, ring, stats(early.written, early.overwritten, taken))
    assert boot.events + boot.lost == 1000
    assert not boot.lost_at_least


def test_counters_from_long_before_give_a_lower_bound(tmp_path: Path) -> None:
    early, ring = filled(300), filled(5000)
    taken = 1000 * US + 299 * US
    boot = report(tmp_path, ring, stats(early.written, early.overwritten, taken))
    assert boot.lost == 300
    assert boot.lost_at_least
    assert boot.events + boot.lost < 5000


def test_a_ring_that_wrapped_lost_something_even_without_counters(tmp_path: Path) -> None:
    found = tracekit.open(make_session(tmp_path, layout_615([filled(5000)]))).report()
    boot = found.boots[0]
    assert (boot.lost, boot.lost_at_least) == (1, True)
    assert "losses-at-least" in {d.code for d in found.diagnostics}


def test_without_counters_it_may_be_unknown(tmp_path: Path) -> None:
    found = tracekit.open(make_session(tmp_path, layout_615([filled(400)]))).report()
    boot = found.boots[0]
    assert boot.lost is None
    assert boot.cpus[0].lost is None
    assert "losses-unknown" in {d.code for d in found.diagnostics}
    assert found.as_dict()["boots"][0]["lost"] is None


def test_dropped_events_are_lost(tmp_path: Path) -> None:
    boot = report(tmp_path, filled(10), stats(10, 0, 10**9, dropped=7))
    assert boot.lost == 7


def test_stats_of_real_clocks() -> None:
    text = "entries: 1932\noverrun: 3\noldest event ts:    25.762837\nnow ts:    30.931793\n"
    assert parse_stats(text) == {
        "entries": 1932, "overrun": 3, "oldest event ts": 25_762_837_000, "now ts": 30_931_793_000,
    }  # fmt: skip
    assert parse_stats("now ts: 74467173516\nrubbish\n\0: 1\n") == {"now ts": 74467173516}


@pytest.mark.parametrize(
    ("unread", "more_read", "counted"), [(0, 0, True), (2, 0, True), (0, 5, False)]
)
def test_pages_that_were_handed_out(
    unread: int, more_read: int, counted: bool, session: Callable[[str], Path], tmp_path: Path
) -> None:
    """What is unread came after them; what somebody else has read is not among them."""
    path = tmp_path / "s"
    shutil.copytree(session("handover-7.2-tsc"), path)
    found = {cpu.cpu: cpu.events for cpu in tracekit.open(path).report().boots[1].cpus}
    for cpu, events in found.items():
        text = stats(unread, 0, 0).replace("read events: 0", f"read events: {events + more_read}")
        text = text.replace("now ts:     0.000000", f"now ts: {1 << 62}")
        place = path / f"boots/1/tracefs/per_cpu/cpu{cpu}/stats"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    boot = tracekit.open(path).report().boots[1]
    assert [cpu.counted for cpu in boot.cpus] == [counted] * len(found)
    assert boot.lost == 0
