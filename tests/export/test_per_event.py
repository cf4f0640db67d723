"""One Parquet file an event: what :meth:`Recording.event` has of it, put together in parts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import tracekit
from tracekit.cli import main
from tracekit.export.per_event import write_events
from tracekit.export.redaction.recording import Redacted
from tracekit.timeline.filter import Filter


@pytest.fixture(scope="module")
def path(session: Callable[[str], Path]) -> Path:
    return session("handover-7.2-to-7.3-tsc")


def test_one_file_an_event_with_typed_arguments(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "events"
    command = ["export", str(path), "--format", "parquet", "--per-event", str(out)]
    assert main(command) == 0
    recording = tracekit.open(path)
    names = {f.name for f in out.iterdir()}
    assert names == {f"{n.replace(':', '.')}.parquet" for n in recording.event_names}
    total = sum(pq.read_metadata(f).num_rows for f in out.iterdir())
    assert total == len(recording)
    switch = pq.read_table(out / "sched.sched_switch.parquet")
    assert {"prev_pid", "next_comm", "ts_ns", "ts_raw"} <= set(switch.column_names)
    assert switch.equals(recording.event("sched:sched_switch").replace_schema_metadata(None))


@pytest.mark.parametrize(("rows", "size"), [(100, 1 << 20), (1 << 18, 3000), (7, 1)])
def test_events_are_put_together_in_parts(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int, size: int
) -> None:
    """Several events in one part, several parts of one event, events of two kernels; few nearby."""
    monkeypatch.setattr("tracekit.export.per_event._GATHERED", rows)
    monkeypatch.setattr("tracekit.export.per_event._BYTES", size)
    monkeypatch.setattr("tracekit.export.per_event._STRETCH", 50)
    monkeypatch.setattr("tracekit.export.per_event._BATCH", 60)
    recording, wanted = tracekit.open(path), Filter(cpus=frozenset({0}))
    assert len(recording.buffers) > 1
    made: list[int] = []
    found = write_events(recording, tmp_path / "d", wanted, made.append)
    assert sum(found.values()) == sum(made) == len(recording.select(wanted))
    for name in recording.event_names:
        expected = recording.event(name, wanted)
        file = tmp_path / "d" / f"{name.replace(':', '.')}.parquet"
        assert file.exists() == bool(len(expected)) == (file.name in found)
        if len(expected):
            written = pq.read_table(file).replace_schema_metadata(None)
            assert written.to_pylist() == expected.to_pylist()


def test_a_redacted_recording_is_put_together_redacted(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracekit.export.per_event._GATHERED", 300)
    write_events(Redacted.of(tracekit.open(path)), tmp_path, Filter(), lambda _: None)
    exec_ = pq.read_table(tmp_path / "sched.sched_process_exec.parquet")
    real = tracekit.open(path).event("sched:sched_process_exec")
    assert len(exec_) == len(real)
    assert not set(exec_["filename"].to_pylist()) & set(real["filename"].to_pylist())
