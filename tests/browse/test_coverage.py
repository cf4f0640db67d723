"""What is recorded of every CPU: against sessions of which it is known what they lack."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.ring.region_writer import RingBuffer, layout_615
from tests.support.session_trees import stats
from tests.support.sessions import missing
from tracekit.analysis.stretches import LOSSES, Stretch
from tracekit.browse.open import Opened, open_recording
from tracekit.session import Session

STEP = 10_000_000  # ns between two events of CPU 0
_PAGE = 4096


def opened(path: Path) -> Opened:
    return open_recording(path, lambda what, share: None)


def kinds(stretches: Sequence[Stretch]) -> list[str]:
    return [s.kind for s in stretches]


def on_axis(of: Opened, ns: int) -> int:
    """An instant of the kernel's clock on the session's axis."""
    first = of.recording.rows.ts_raw[0]
    return int(of.recording.axis.ts_ns[0]) + ns - int(first)


def test_before_and_after_the_record_nothing_is_known_and_between_it_was_quiet(
    tmp_path: Path,
) -> None:
    of = opened(missing.whole(tmp_path))
    ts = of.recording.axis.ts_ns
    for stretches in of.coverage.values():
        assert kinds(stretches) == ["unknown", "unknown"]
        assert stretches[0].end_ns == ts[0]
        assert stretches[1].start_ns >= ts[-1]


def test_what_the_ring_overwrote_is_overwritten_on_its_cpu_alone(tmp_path: Path) -> None:
    of = opened(missing.wrapped(tmp_path))
    rows = of.recording.rows
    first = int(of.recording.axis.ts_ns[np.flatnonzero(rows.cpu == 0)[0]])
    assert kinds(of.coverage[0]) == ["overwritten", "unknown"]
    assert of.coverage[0][0].end_ns == first
    assert kinds(of.coverage[1]) == ["unknown", "unknown"]


@pytest.mark.parametrize("pages", [(0,), (1,), (1, 2)])
def test_unreadable_pages_are_a_hole_between_their_neighbours(
    tmp_path: Path, pages: tuple[int, ...]
) -> None:
    whole = missing.rings()[0].expected()
    of = opened(missing.session(tmp_path, missing.damaged_region(pages)))
    mine = np.flatnonzero(of.recording.rows.cpu == 0)
    kept = set(of.recording.rows.ts_raw[mine].tolist())
    lost = [event.ts for event in whole if event.ts not in kept]
    (hole,) = (s for s in of.coverage[0] if s.kind == "unreadable")
    start = max((ts for ts in kept if ts < lost[0]), default=missing.START)
    end = min(ts for ts in kept if ts > lost[-1])
    assert (hole.start_ns, hole.end_ns) == (on_axis(of, start), on_axis(of, end))
    assert hole.note == f"{len(pages)} sub-buffer{'s' * (len(pages) > 1)} of tkA unreadable"


def damages() -> Mapping[str, Callable[[bytearray, int, int], None]]:
    """How a sub-buffer at an offset, with the one before it at another, is damaged."""

    def zero(data: bytearray, at: int, before: int) -> None:
        data[at : at + _PAGE] = bytes(_PAGE)

    def no_commit(data: bytearray, at: int, before: int) -> None:
        data[at + 8 : at + 16] = bytes(8)

    def beyond(data: bytearray, at: int, before: int) -> None:
        data[at + 8 : at + 12] = b"\xff\x3f\x00\x00"

    def stale(data: bytearray, at: int, before: int) -> None:
        stamp = int.from_bytes(data[at : at + 8], "little") - 5 * 10**9
        data[at : at + 8] = max(stamp, 1).to_bytes(8, "little")

    def future(data: bytearray, at: int, before: int) -> None:
        stamp = int.from_bytes(data[at : at + 8], "little") + 5 * 10**9
        data[at : at + 8] = stamp.to_bytes(8, "little")

    def garbage(data: bytearray, at: int, before: int) -> None:
        data[at + 100 : at + _PAGE] = random.Random(at).randbytes(_PAGE - 100)

    def shortened(data: bytearray, at: int, before: int) -> None:
        data[at + 8 : at + 12] = (1001).to_bytes(4, "little")  # in the middle of a record

    return {f.__name__: f for f in (zero, no_commit, beyond, stale, future, garbage, shortened)}


@pytest.mark.parametrize(
    "damage", ["zero", "no_commit", "beyond", "stale", "future", "garbage", "shortened"]
)
@pytest.mark.parametrize("page", [1, 2])
def test_no_event_is_missing_from_time_that_looks_quiet(
    tmp_path: Path, damage: str, page: int
) -> None:
    region = layout_615(missing.rings())
    data, at = bytearray(region.data), region.places[0].subbufs + (page + 1) * _PAGE
    damages()[damage](data, at, at - _PAGE)
    of = opened(missing.session(tmp_path, bytes(data)))
    # CPU 1 was not damaged: its first event is at START
    first = np.flatnonzero(of.recording.rows.cpu == 1)[0]
    zero = int(of.recording.axis.ts_ns[first]) - missing.START
    kept = set(of.recording.rows.ts_raw[of.recording.rows.cpu == 0].tolist())
    losses = [s for s in of.coverage[0] if s.kind in LOSSES]
    lost = [event.ts for event in region.expected[0] if event.ts not in kept]
    assert lost
    for ts in lost:
        assert any(s.start_ns <= zero + ts < s.end_ns for s in losses), (ts, losses)
    assert not any(s.kind in LOSSES for s in of.coverage[1])


def test_a_page_that_an_attaching_kernel_gave_up_is_a_hole(tmp_path: Path) -> None:
    rings = missing.rings()
    rings[0].invalidate(2)
    of = opened(missing.session(tmp_path, layout_615(rings)))
    assert [s.kind for s in of.coverage[0] if s.kind in LOSSES] == ["unreadable"]


def test_events_lost_before_a_page_that_user_space_read(tmp_path: Path) -> None:
    ring = RingBuffer(4, static=False)
    for n in range(100):
        ring.write(missing.START + n * STEP, missing.switch(n))
    read = [page for page in [ring.read_page()] if page is not None]
    for n in range(100, 600):
        ring.write(missing.START + n * STEP, missing.switch(n))
    while (page := ring.read_page()) is not None:
        read.append(page)
    assert any(page.missed for page in read[1:])
    files_ = {"sys/kernel/tracing/per_cpu/cpu0/trace_pipe_raw": b"".join(p.data for p in read)}
    of = opened(missing.session(tmp_path, layout_615([RingBuffer(4)]), files_))
    (hole,) = (s for s in of.coverage[0] if s.kind == "overwritten")
    before = max(e.ts for e in read[0].events)
    after = min(e.ts for page in read if page.missed for e in page.events)
    assert (hole.start_ns, hole.end_ns) == (on_axis(of, before), on_axis(of, after))
    assert "were overwritten or dropped" in hole.note


def test_the_record_of_a_cpu_that_was_copied_first_ends_with_its_last_event(tmp_path: Path) -> None:
    of = opened(missing.short(tmp_path))
    mine = np.flatnonzero(of.recording.rows.cpu == 0)
    (end,) = (s for s in of.coverage[0] if s.kind == "ended")
    assert end.start_ns == int(of.recording.axis.ts_ns[mine[-1]]) + 1
    assert "ended" not in kinds(of.coverage[1])


def test_a_cpu_that_was_never_online_is_no_quiet_one(tmp_path: Path) -> None:
    rings = [*missing.rings(), RingBuffer(20, online=False), RingBuffer(20)]
    of = opened(missing.session(tmp_path, layout_615(rings)))
    assert [s.kind for s in of.coverage[2]] == ["unknown", "stopped", "unknown"]
    assert "not online" in of.coverage[2][1].note
    assert kinds(of.coverage[3]) == ["unknown", "unknown"]  # online, and quiet


def test_a_cpu_whose_buffer_is_not_there_is_unknown(tmp_path: Path) -> None:
    files_ = {"proc/stat": "cpu  1 2 3\n" + "".join(f"cpu{n} 1 2 3\n" for n in range(3))}
    of = opened(missing.session(tmp_path, layout_615(missing.rings()), files_))
    assert set(of.coverage) == {0, 1, 2}
    assert {s.kind for s in of.coverage[2]} == {"unknown"}
    assert any("no record of it" in s.note for s in of.coverage[2])


def test_whether_older_events_were_overwritten_may_not_be_known(tmp_path: Path) -> None:
    def session(name: str, files_: Mapping[str, str]) -> list[str]:
        ring = missing.rings()[0]
        ring.read_page()  # swaps a page out: the order of buffers[] tells nothing any more
        late = RingBuffer(20)
        for ts in range(missing.START // 2, missing.END, STEP):
            late.write(ts, missing.switch(0))
        region = layout_615([ring, late])
        where = tmp_path / name
        return kinds(opened(missing.session(where, region, files_)).coverage[0])

    path = "sys/kernel/tracing/instances/tk/per_cpu/cpu0/stats"
    assert session("unknown", {}) == ["unknown", "unknown", "unknown"]
    assert session("some", {path: stats(900, 500, missing.END)})[0] == "overwritten"


def test_a_region_that_is_cut_short_was_not_quiet_where_it_ends(tmp_path: Path) -> None:
    session = missing.whole(tmp_path)
    region = layout_615(missing.rings())
    raw = next((session / "boots/0/regions").glob("tkA.raw.*"))
    raw.unlink()
    end = region.places[1].subbufs + 2 * _PAGE  # the reader page, and the first of the ring
    raw.with_suffix("").write_bytes(region.data[:end])
    of = opened(session)
    assert [s.kind for s in of.coverage[1] if s.kind in LOSSES] == ["unreadable"]
    assert not any(s.kind in LOSSES for s in of.coverage[0])


def test_the_handover_that_ships() -> None:
    with as_file(files("tracekit") / "demo" / "handover.tar.zst") as path:
        of = opened(path)
    dark = int(of.recording.axis.ts_ns[of.recording.rows.boot == 1][0])
    for stretches in of.coverage.values():
        between = [s for s in stretches if 0 < s.end_ns <= dark]
        assert kinds(between) == ["unknown"] and between[0].end_ns == dark
    stopped = {cpu: [s for s in of.coverage[cpu] if s.kind == "stopped"] for cpu in (0, 1)}
    assert not stopped[0]
    (stop,) = stopped[1]
    assert stop.end_ns == 0 and stop.note == "CPU 0 stopped all others"
    table = of.recording.timeline.to_pylist()
    (done,) = (r["ts_ns"] for r in table if r["event"] == "kexec:stop_other_cpus_return")
    assert stop.start_ns == done


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return missing.whole(tmp_path_factory.mktemp("quiet"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1 << 32), flips=st.integers(1, 200))
def test_no_damage_is_too_much(quiet: Path, seed: int, flips: int) -> None:
    """Stretches stay in order whatever a region holds."""
    rng = random.Random(seed)
    data = bytearray(layout_615(missing.rings()).data)
    for _ in range(flips):
        data[rng.randrange(0x2000, len(data))] = rng.randrange(256)

    class Damaged(Session):
        def read(self, rel: str) -> bytes:
            return bytes(data) if rel.endswith(".raw") else super().read(rel)

    import tracekit
    from tracekit.browse.coverage import coverage
    from tracekit.query.groups import Index

    recording: Any = tracekit.open(Damaged.open(quiet))
    for stretches in coverage(recording, Index(recording)).values():
        edges = [ns for s in stretches for ns in (s.start_ns, s.end_ns)]
        assert edges == sorted(edges)
