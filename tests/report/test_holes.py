"""Holes that the events themselves give away."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zstandard

import tracekit
from tracekit.report.holes import find_holes

REGION = "boots/0/regions/tkA.raw"
CAPTURES = ("handover-7.2-to-7.3-tsc", "same-boot-7.2", "stock-6.12-same-boot")


@pytest.mark.parametrize("name", CAPTURES)
def test_a_whole_record_has_none(name: str, session: Callable[[str], Path]) -> None:
    recording = tracekit.open(session(name))
    assert [
        n for b in recording.boots for n in find_holes(recording, recording.part(b.index))
    ] == []


def hide(session: Path, copy: Path, event: str, count: int) -> Path:
    """A copy of the session in which so many of these records were discarded by their writer."""
    shutil.copytree(session, copy)
    recording = tracekit.open(copy)
    region = bytearray(recording.session.read(REGION))
    codes = [i for i, kind in enumerate(recording.kinds) if kind.name == event]
    places = recording.rows.offset[np.isin(recording.rows.kind, codes)].tolist()
    for offset in places[2::2]:
        head = int.from_bytes(region[offset - 4 : offset], "little")
        if count and 0 < head & 31 < 29 and head >> 5 > 1:
            struct.pack_into("<II", region, offset - 4, head & ~31 | 29, 4 * (head & 31))
            count -= 1
    assert not count
    (copy / f"{REGION}.zst").write_bytes(zstandard.compress(bytes(region)))
    return copy


@pytest.mark.parametrize("event", ["sched:sched_switch", "syscalls:sys_exit_openat"])
def test_a_missing_event_leaves_a_hole(
    event: str, session: Callable[[str], Path], tmp_path: Path
) -> None:
    path = hide(session("stock-6.12-same-boot"), tmp_path / "s", event, 1)
    instance = path / "boots/0/tracefs/instances/tk"
    (instance / "trace_clock").write_text("local [mono]\n")  # one clock for all CPUs
    shutil.rmtree(instance / "per_cpu")  # the kernel's count would tell that one is lost
    report = tracekit.open(path).report()
    assert [d.message.split(",")[0] for d in report.diagnostics if d.code == "buffer-hole"] == [
        "events are missing in 1 places"
    ]
    assert report.verdict == "incomplete"


def test_what_is_filtered_is_not_missing(session: Callable[[str], Path], tmp_path: Path) -> None:
    path = hide(session("stock-6.12-same-boot"), tmp_path / "s", "sched:sched_switch", 40)
    assert "buffer-hole" not in {d.code for d in tracekit.open(path).report().diagnostics}
