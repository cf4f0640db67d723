"""The options that choose events take lists and ranges."""

from __future__ import annotations

from importlib.resources import files

import pytest

import tracekit
from tracekit.cli import main
from tracekit.timeline.filter import Filter

DEMO = str(files("tracekit") / "demo" / "handover.tar.zst")


def count(capsys: pytest.CaptureFixture[str], *words: str) -> int:
    assert main(["-q", "events", DEMO, *words]) == 0
    return capsys.readouterr().out.count("\n")


def test_lists_and_ranges(capsys: pytest.CaptureFixture[str]) -> None:
    recording = tracekit.open(DEMO)

    def expected(**wanted: object) -> int:
        return len(recording.select(Filter(**wanted)))  # type: ignore[arg-type]

    assert count(capsys, "--cpu", "0,1-3") == expected(cpus=frozenset({0, 1, 2, 3}))
    assert count(capsys, "--pid", "0, 76", "--pid", "14") == expected(pids=frozenset({0, 14, 76}))
    assert count(capsys, "--boot", "0-1") == len(recording)
    globs = ("irq:*", "sched_wak[a,i]*")
    assert count(capsys, "--event", ",".join(globs)) == expected(events=globs) > 0


@pytest.mark.parametrize("text", ["3-1", "a", "1,,2", "-1", "0-99999999", "1.5", ""])
def test_what_is_no_list_is_told(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["events", DEMO, "--cpu", text]) == 2
    assert "'--cpu'" in capsys.readouterr().err
