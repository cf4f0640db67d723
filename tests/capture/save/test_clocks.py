"""Samples of clocks: read from files or taken live, merged, and thinned."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.support.machine_trees import Live, old_machine
from tests.support.sessions.recovering import take
from tracekit.capture.save.clocks import (
    clock_samples,
    marker_sample,
    merge_markers,
    merge_samples,
    valid_sample,
)
from tracekit.capture.save.snapshot import snapshot
from tracekit.remarks import Remarks
from tracekit.session import Session
from tracekit.sysroot import Sysroot

SAMPLE = {"clock": "mono", "tsc_before": 5, "ns": 7, "tsc_after": 9}


@pytest.mark.parametrize(
    ("content", "kept", "remarked"),
    [
        ([SAMPLE], 1, False),
        ({"samples": [SAMPLE, SAMPLE]}, 2, False),
        ([SAMPLE, {}, 5, None], 1, True),
        ([SAMPLE | {"ns": -1}, SAMPLE | {"ns": 1 << 64}, SAMPLE | {"ns": True}], 0, True),
        ([SAMPLE | {"tsc_before": 10}, SAMPLE | {"clock": 5}], 0, True),
        ("text", 0, True),
        ({}, 0, True),
    ],
)
def test_clock_files(tmp_path: Path, content: Any, kept: int, remarked: bool) -> None:
    (tmp_path / "clocks.json").write_text(json.dumps(content))
    remarks = Remarks()
    samples = clock_samples(Sysroot(tmp_path), remarks)
    assert samples == [SAMPLE | {"source": "clocks.json"}] * kept
    codes = {d.code for d in remarks.diagnostics}
    assert ("clocks-invalid" in codes) == remarked
    assert ("clocks-without-tsc" in codes) == (kept == 0)


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 100_000, b"\xff\xfe"])
def test_clock_files_that_are_no_json(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "clocks-last.json").write_bytes(content)
    remarks = Remarks()
    assert clock_samples(Sysroot(tmp_path), remarks) == []
    assert remarks.diagnostics[0].code == "clocks-invalid"


CLOCKS = {"mono", "mono_raw", "boot", "realtime", "tai"}


def test_live_clocks(tmp_path: Path) -> None:
    tree = old_machine().write(tmp_path / "old")
    for _ in range(2):
        result = snapshot(Live(tree), tmp_path / "S")
    assert not [d for d in result.diagnostics if "clock" in d.code]
    clocks = json.loads(Session.open(tmp_path / "S").read("boots/0/clocks.json"))
    assert clocks["readings"] == []
    samples = clocks["samples"]
    assert {s["clock"] for s in samples} == CLOCKS
    assert all(valid_sample(s) and s["tsc_before"] < s["tsc_after"] for s in samples)
    mono = [s["ns"] for s in samples if s["clock"] == "mono"]
    assert len(mono) == 6 and mono == sorted(mono)  # those of the first snapshot are kept


def test_live_clocks_without_a_counter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_here(clock: int, tries: int) -> tuple[int, int, int]:
        raise NotImplementedError

    monkeypatch.setattr("tracekit._native.counter.counter_sample", none_here)
    tree = old_machine().write(tmp_path / "old")
    for _ in range(2):
        result = snapshot(Live(tree), tmp_path / "S")
    assert [d.code for d in result.diagnostics if "clock" in d.code] == ["clocks-without-tsc"]
    clocks = json.loads(Session.open(tmp_path / "S").read("boots/0/clocks.json"))
    assert clocks["samples"] == []
    readings = clocks["readings"]
    assert {r["clock"] for r in readings} == CLOCKS
    assert len(readings) == 10
    assert readings[0]["ns"] < readings[5]["ns"]


def test_a_marker_is_written_between_two_readings_of_the_counter(tmp_path: Path) -> None:
    with (tmp_path / "trace_marker").open("wb") as file:
        marker = marker_sample(file.fileno(), "tracekit-clock 7")
    assert marker is not None
    assert (tmp_path / "trace_marker").read_text() == marker["text"] == "tracekit-clock 7"
    assert marker["tsc_before"] < marker["tsc_after"]
    assert merge_markers({"markers": [marker]}, [marker]) == [marker]
    assert merge_markers({"markers": 3}, [marker]) == [marker]


@pytest.mark.parametrize("content", ["", "[]", '{"samples": 5}', '{"samples": [5, {}]}'])
def test_damaged_clocks_in_the_session(tmp_path: Path, content: str) -> None:
    take(old_machine(), tmp_path)
    (tmp_path / "S/boots/0/clocks.json").write_text(content)
    _, session = take(old_machine(), tmp_path)
    assert len(json.loads(session.read("boots/0/clocks.json"))["samples"]) == 3


def test_merging() -> None:
    a, b = SAMPLE | {"source": "one"}, SAMPLE | {"source": "two", "tsc_before": 1}
    assert merge_samples([a], [b, a]) == [b, a]
    assert merge_samples([a], [a | {"source": "copy"}]) == [a]


@pytest.mark.slow
def test_samples_of_months_are_thinned() -> None:
    """No more than are useful: the ends, and the narrowest of each stretch between."""
    kept: list[Any] = []
    for n in range(2000):
        wide = {"clock": "mono", "tsc_before": n * 1000, "ns": n, "tsc_after": n * 1000 + 90}
        kept = merge_samples(kept, [wide, {**wide, "tsc_after": n * 1000 + 30}])
    assert 400 < len(kept) <= 512
    assert (kept[0]["tsc_before"], kept[-1]["tsc_before"]) == (0, 1_999_000)
    assert all(s["tsc_after"] - s["tsc_before"] == 30 for s in kept[1:300])
    gaps = [b["tsc_before"] - a["tsc_before"] for a, b in pairwise(kept)]
    assert max(gaps) < 20_000  # of 2 million: nowhere is it thin
