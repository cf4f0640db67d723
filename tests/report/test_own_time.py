"""What of the way out is tracekit's own: the last snapshot."""

from __future__ import annotations

from pathlib import Path

import pytest

import tracekit
from tests.support.bpf_records import mark, write_session
from tests.support.sessions.live import MS, report_of, systemd_boots, way_out
from tracekit.report.phases import Phase


def own(where: Path, *marks: tuple[int, str]) -> list[Phase]:
    events = [*way_out(), *((ms * MS, mark(f"tracekit: {text}")) for ms, text in marks)]
    return [p for p in report_of(where, events).phases if p.name == "tracekit's own"]


def test_the_last_snapshot_is_a_phase(tmp_path: Path) -> None:
    (phase,) = own(tmp_path, (10, "last snapshot"), (14, "last snapshot taken"))
    assert (phase.boot, phase.duration_ns, phase.observed) == (0, 4 * MS, True)
    assert not phase.in_blackout
    assert phase.start_ns is not None and phase.start_ns < 0


@pytest.mark.parametrize(
    "marks",
    [
        (),
        ((10, "last snapshot"),),
        ((10, "last snapshot taken"),),
        ((10, "last snapshot taken"), (11, "last snapshot")),
        ((10, "last snapshots"), (11, "last snapshot taken")),
    ],
)
def test_what_is_not_whole_is_none(marks: tuple[tuple[int, str], ...], tmp_path: Path) -> None:
    assert own(tmp_path, *marks) == []


def test_of_several_the_last_counts(tmp_path: Path) -> None:
    texts = ("last snapshot", "last snapshot taken")
    (phase,) = own(tmp_path, *zip((5, 6, 10, 13), texts * 2, strict=True))
    assert phase.duration_ns == 3 * MS


def test_it_does_not_begin_the_shutdown(tmp_path: Path) -> None:
    texts = ((30, "last snapshot"), (32, "last snapshot taken"))
    extra = [(ms * MS, mark(f"tracekit: {text}")) for ms, text in texts]
    boots = systemd_boots(shutdown=False, extra=extra)
    report = tracekit.open(write_session(tmp_path / "s", boots)).report()
    named = {p.name: p for p in report.phases}
    stopping = named["systemd: stopping units"]
    assert stopping.duration_ns == 45 * MS - 21 * MS
    assert named["tracekit's own"].duration_ns == 2 * MS
