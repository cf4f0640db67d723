"""Pages of instances and of snapshots beside regions."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import tracekit
from tracekit.ftrace.ring.layout import parse_layout
from tracekit.session import Session, SessionWriter
from tracekit.session.regions import read_region
from tracekit.timeline.boot import Boot


@pytest.fixture
def both(session: Callable[[str], Path], tmp_path: Path) -> tuple[Path, str, int]:
    """A session with a region and, of the same instance, pages: (path, instance, events)."""
    path = Path(shutil.copytree(session("same-boot-7.2"), tmp_path / "session"))
    events = len(tracekit.open(path))
    kernel = json.loads((path / "boots/0/kernel.json").read_text())
    (entry,) = kernel["trace_instances"][:1]
    opened = Session.open(path)
    (region,) = [name for name in opened.list("boots/0/regions/") if name.endswith(".raw")]
    data = read_region(opened, region).data
    boot = Boot(opened, 0)
    layout = parse_layout(data, "region", boot.header_page)
    with SessionWriter.open(path) as writer:
        for cpu in layout.cpus:
            pages = b"".join(data[at : at + cpu.subbuf_size] for at in cpu.pages)
            rel = f"boots/0/tracefs/instances/{entry['name']}/per_cpu/cpu{cpu.cpu}/trace_pipe_raw"
            writer.write(rel, pages, compressed=True)
        writer.finish("recovered")
    return path, entry["name"], events


def test_a_region_and_the_same_buffer_as_pages_are_shown_once(both) -> None:
    path, _, events = both
    assert len(tracekit.open(path)) == events


def test_pages_alone_are_the_same_events(both) -> None:
    path, instance, _ = both
    whole = tracekit.open(path).timeline
    with SessionWriter.open(path) as writer:
        for name in writer.names("boots/0/regions/"):
            writer.remove(name)
        writer.finish("recovered")
    recording = tracekit.open(path)
    (buffer,) = recording.buffers
    assert (buffer.name, buffer.instance) == (f"instance {instance}", instance)
    assert recording.timeline["ts_raw"].to_pylist() == whole["ts_raw"].to_pylist()
    assert recording.timeline["args"].to_pylist() == whole["args"].to_pylist()


def test_one_instance_alone(both) -> None:
    path, instance, events = both
    assert len(tracekit.open(path, instance)) == events
    assert len(tracekit.open(path, "global")) == 0
    assert tracekit.open(path, "nothing").buffers == []


@pytest.mark.parametrize(("text", "size"), [("8\n", 8192), ("x", 4096), ("", 4096)])
def test_the_size_of_an_instances_pages(both, text: str, size: int) -> None:
    path, instance, _ = both
    with SessionWriter.open(path) as writer:
        rel = f"boots/0/tracefs/instances/{instance}/buffer_subbuf_size_kb"
        writer.write(rel, text.encode())
        writer.finish("recovered")
    boot = Boot(Session.open(path), 0)
    assert boot.subbuf_size(instance) == size
    assert boot.subbuf_size("") == 4096
