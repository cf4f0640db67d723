"""Kprobe events on what the whole system does are enabled with their filter, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.machine_trees import Live
from tracekit.capture.record.instance import Instance

TRACEFS = "sys/kernel/tracing"


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    event = tmp_path / TRACEFS / "instances/tk/events/tracekit/tracefs_write"
    event.mkdir(parents=True)
    (event / "filter").write_text("none\n")
    (tmp_path / TRACEFS / "kprobe_events").write_text("p:tracekit/tracefs_write vfs_write\n")
    return Instance(Live(tmp_path), TRACEFS, "tk")


def test_the_filter_is_the_instances(tmp_path: Path, instance: Instance) -> None:
    assert instance.filter_kprobe("tracefs_write", "magic == 1") == ""
    event = tmp_path / TRACEFS / "instances/tk/events/tracekit/tracefs_write"
    assert (event / "filter").read_text().startswith("magic == 1")


def test_without_its_filter_the_event_is_removed(tmp_path: Path, instance: Instance) -> None:
    event = tmp_path / TRACEFS / "instances/tk/events/tracekit/tracefs_write"
    (event / "filter").unlink()
    (event / "filter").mkdir()  # cannot be written to
    assert "magic == 1" in instance.filter_kprobe("tracefs_write", "magic == 1")
    assert (tmp_path / TRACEFS / "kprobe_events").read_text().endswith("-:tracekit/tracefs_write")
