"""Groups of rows, and counting them in cells, beside the plain way to do it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import tracekit
from tracekit.query.groups import Groups, Index, cell_counts, cell_edges
from tracekit.spill import Spill
from tracekit.timeline import rows as rows_module


@given(codes=st.lists(st.integers(0, 9), max_size=60), piece=st.integers(1, 70), wide=st.booleans())
def test_groups_are_the_rows_of_each_key(codes: list[int], piece: int, wide: bool) -> None:
    keys = [7 * n for n in range(70_000 if wide else 10)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows_module, "PIECE", piece)
        values = np.array(codes, np.int32)
        groups = Groups.by(keys, lambda part: values[part], len(codes), Spill())
    assert groups.order.dtype == np.uint32
    assert groups.counts()[:10] == [codes.count(n) for n in range(10)]
    for n in range(10):
        expected = [row for row, code in enumerate(codes) if code == n]
        assert groups.rows(n).tolist() == expected
        assert groups.of(7 * n).tolist() == expected
    assert groups.of(-1).tolist() == []


@given(
    times=st.lists(st.integers(-1000, 1000), max_size=50).map(sorted),
    picked=st.none() | st.sets(st.integers(0, 49)),
    start=st.integers(-1100, 1100),
    width=st.integers(1, 3000),
    cells=st.integers(1, 40),
)
def test_cells_count_the_events_of_their_time(
    times: list[int], picked: set[int] | None, start: int, width: int, cells: int
) -> None:
    ts_ns = np.array(times, np.int64)
    edges = cell_edges(ts_ns, start, start + width, cells)
    rows = None if picked is None else sorted(p for p in picked if p < len(times))
    found = cell_counts(None if rows is None else np.array(rows, np.uint32), edges).tolist()
    bounds = [start + round(i * width / cells) for i in range(cells + 1)]
    shown = range(len(times)) if rows is None else rows
    expected = [sum(a <= times[r] < b for r in shown) for a, b in pairwise(bounds)]
    assert found == expected


@given(
    pids=arrays(np.int32, st.integers(0, 30), elements=st.sampled_from([-5, 0, 1, 77, 1 << 30])),
    boots=st.data(),
)
def test_tasks_are_known_by_boot_and_pid(pids: np.ndarray, boots: st.DataObject) -> None:
    of = boots.draw(arrays(np.uint8, len(pids), elements=st.sampled_from([0, 1, 3])))

    class Some:
        class rows:
            pid, boot = pids, of

        class session:
            spill = Spill()

        def __len__(self) -> int:
            return len(pids)

    tasks = Index(Some()).tasks  # type: ignore[arg-type]
    pairs = list(zip(of.tolist(), pids.tolist(), strict=True))
    expected = {boot << 32 | pid & 0xFFFFFFFF for boot, pid in pairs}
    assert set(tasks.keys) == expected and len(tasks.keys) == len(expected)
    for boot, pid in set(pairs):
        at = [row for row, pair in enumerate(pairs) if pair == (boot, pid)]
        assert tasks.of(boot << 32 | pid & 0xFFFFFFFF).tolist() == at


def test_the_groups_of_a_real_recording(session: Callable[[str], Path]) -> None:
    recording = tracekit.open(session("handover-7.2-to-7.3-tsc"))
    index, rows = Index(recording), recording.rows
    for cpu in index.cpus.keys:
        assert (index.cpus.of(cpu) == np.flatnonzero(rows.cpu == cpu)).all()
    names = np.array(recording.event_names)[recording.name_codes(slice(None))]
    for n, name in enumerate(recording.event_names):
        assert (index.events.of(n) == np.flatnonzero(names == name)).all()
    for key in index.tasks.keys:
        mine = (rows.boot == key >> 32) & (rows.pid.astype(np.uint32) == key & 0xFFFFFFFF)
        assert (index.tasks.of(key) == np.flatnonzero(mine)).all()
    for groups in (index.cpus, index.events, index.tasks):
        assert sum(groups.counts()) == len(recording)
