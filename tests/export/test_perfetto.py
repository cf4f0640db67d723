"""Traces of Perfetto, as its own trace_processor reads them."""

from __future__ import annotations

import gzip
import re
import shutil
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tracekit
from tests.support.perfetto.processor import missing, query
from tracekit.cli import main
from tracekit.cli.doors.perfetto_server import TraceServer
from tracekit.errors import SourceError
from tracekit.session.notes import Bookmark, Notes
from tracekit.timeline.when.wall_clock import wall_clocks

needs_processor = pytest.mark.skipif(bool(missing()), reason=missing())
ERRORS = "select name, value from stats where value != 0 and severity in ('error', 'data_loss')"
COUNT = "select name, count(*) from ftrace_event group by 1"
CPUS = "select cpu, count(*) from ftrace_event group by 1"


def exported(session: Path, where: Path, *options: str) -> Path:
    command = ["-q", "export", str(session), "--format", "perfetto", "-o", str(where), *options]
    assert main(command) == 0
    return where


@pytest.fixture(scope="module")
def handover(session: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    trace = tmp_path_factory.mktemp("perfetto") / "x.pftrace"
    return exported(session("handover-7.2-to-7.3-tsc"), trace)


@needs_processor
def test_every_event_of_both_kernels_is_there(
    handover: Path, session: Callable[[str], Path]
) -> None:
    recording = tracekit.open(session("handover-7.2-to-7.3-tsc"))
    errors, names, cpus, machines = query(
        handover, ERRORS, COUNT, CPUS, "select raw_id, release from machine order by 1"
    )
    assert errors == []
    ours = Counter(name.partition(":")[2] for name in recording.timeline["event"].to_pylist())
    ours["sched_switch"] += 1  # one task ran when the old kernel left
    assert dict(names) == ours
    rows = recording.rows
    pairs = zip(rows.boot.tolist(), rows.cpu.tolist(), strict=True)
    # the second machine's CPUs are numbered from 4096 on
    expected = Counter(4096 * boot + cpu for boot, cpu in pairs)
    expected[0] += 1
    assert dict(cpus) == expected
    assert machines == [[0, "7.2.13"], [1, "7.3.4"]]


@needs_processor
def test_the_time_of_day(handover: Path, session: Callable[[str], Path]) -> None:
    recording = tracekit.open(session("handover-7.2-to-7.3-tsc"))
    wall = wall_clocks(recording.axis, recording.boots)[0]
    ((ts, real),) = query(
        handover, "select ts, clock_value from clock_snapshot where clock_name = 'REALTIME'"
    )[0]
    base = -(int(recording.axis.ts_ns.min()) // 10**9) * 10**9
    assert real == ts - base + wall.offset_ns


@needs_processor
def test_tasks_run_until_the_jump_and_no_longer(
    handover: Path, session: Callable[[str], Path]
) -> None:
    recording = tracekit.open(session("handover-7.2-to-7.3-tsc"))
    switches = recording.event("sched:sched_switch")
    slices, running, ends = query(
        handover,
        "select count(*) from sched",
        "select count(*) from sched s join thread t using (utid) where dur < 0 and not is_idle",
        "select max(ts) from ftrace_event where cpu < 4096",
    )
    # one from each switch on, and the one that was added
    assert slices == [[len(switches) + 1]]
    assert running == [[0]]
    assert ends[0][0] % 1_000_000_000 == 0  # the jump is at a whole second


@needs_processor
def test_phases_devices_and_initcalls_are_tracks(
    handover: Path, session: Callable[[str], Path]
) -> None:
    report = tracekit.open(session("handover-7.2-to-7.3-tsc")).report()
    found, tracks = query(
        handover,
        "select s.name, s.dur from slice s join track t on s.track_id = t.id "
        "where t.name = 'phases' order by s.ts",
        "select t.name, count(*) from slice s join track t on s.track_id = t.id group by 1",
    )
    expected = [[p.name, p.duration_ns] for p in report.phases if p.observed]
    assert found == expected
    counts = dict(tracks)
    assert counts["initcalls"] == len(report.initcalls)
    assert counts["clocks"] == 2
    assert counts["handover"] == 3  # gap, blackout, jump
    assert counts.get("device shutdowns", 0) == len(report.devices)


@needs_processor
@pytest.mark.parametrize("name", ["same-boot-wide-7.2", "stock-6.12-panic-tsc"])
def test_names_and_arguments_of_one_event_of_each_kind(
    name: str, session: Callable[[str], Path], tmp_path: Path
) -> None:
    """137 kinds, typed and generic, strings and arrays."""
    path = session(name)
    recording = tracekit.open(path)
    trace = exported(path, tmp_path / "x.pftrace")
    errors, total, arguments = query(
        trace,
        ERRORS,
        "select count(*) from ftrace_event",
        "select f.id, f.ts, f.cpu, f.name, a.key, coalesce(a.display_value, '') from ftrace_event "
        "f join args a using (arg_set_id) where f.id in (select min(id) from ftrace_event group by "
        "name) order by f.id",
    )
    assert errors == []
    assert len(recording) <= total[0][0] <= len(recording) + 8
    shown: dict[tuple[int, int, str], dict[str, str]] = {}
    for _, ts, cpu, event, key, value in arguments:
        shown.setdefault((ts, cpu, event), {})[key.rpartition(".")[2]] = value
    first = int(recording.axis.ts_ns.min())
    checked = missed = 0
    for row in {n: r for r, n in reversed(list(enumerate(recording.rows.kind.tolist())))}.values():
        event = recording.kinds[int(recording.rows.kind[row])].name.partition(":")[2]
        ts = int(recording.axis.ts_ns[row]) + -(first // 10**9) * 10**9
        (fields,) = recording.fields(np.array([row]))
        theirs = shown.get((ts, int(recording.rows.cpu[row]), event))
        if theirs is None:
            continue
        for key, value in fields.items():
            if key in theirs:
                assert matches(value, theirs[key]), (event, key, value, theirs[key])
                checked += 1
            missed += key not in theirs and value not in ("", None, [])
    # events of one stamp may stand in another order; an own message may lack a new member
    assert checked > 0.9 * (checked + missed), (checked, missed)


def matches(ours: Any, theirs: str) -> bool:
    """Numbers may be shown signed; a flag as a number."""
    if isinstance(ours, bool):
        return theirs in (str(int(ours)), str(ours).lower())
    if isinstance(ours, int):
        forms = {str(ours), str(ours - (1 << 64)), hex(ours), str(ours & 0xFFFFFFFF)}
        return theirs in forms or not theirs.lstrip("-").isdigit()  # an enumerator, a symbol
    if isinstance(ours, bytes):
        return theirs == ours.hex()
    return theirs == str(ours)


@needs_processor
def test_filters_notes_and_compression(session: Callable[[str], Path], tmp_path: Path) -> None:
    copy = tmp_path / "s"
    shutil.copytree(session("same-boot-7.2"), copy)
    recording = tracekit.open(copy)
    notes = Notes.load(recording.session)
    notes.bookmarks.append(Bookmark(0, 0, 1, int(recording.axis.ts_ns[5]), "look here"))
    notes.save()
    trace = exported(copy, tmp_path / "x.pftrace.gz", "--event", "sched:sched_switch")
    assert gzip.decompress(trace.read_bytes())
    names, marks = query(trace, COUNT, "select name from slice where name = 'look here'")
    assert dict(names) == {"sched_switch": len(recording.event("sched:sched_switch"))}
    assert marks == [["look here"]]


@needs_processor
def test_losses_are_told(session: Callable[[str], Path], tmp_path: Path) -> None:
    """Seven events were overwritten, the kernel counted."""
    copy = tmp_path / "s"
    shutil.copytree(session("same-boot-7.2"), copy)
    stats = copy / "boots/0/tracefs/instances/tk/per_cpu/cpu0/stats"
    stats.write_text(re.sub(r"^overrun: 0$", "overrun: 7", stats.read_text(), flags=re.M))
    lost = tracekit.open(copy).report().boots[0].cpus[0].lost
    assert lost
    errors, told, events = query(
        exported(copy, tmp_path / "x.pftrace"),
        ERRORS,
        "select s.name from slice s join track t on s.track_id = t.id where t.name = 'lost events'",
        "select count(*) from ftrace_event",
    )
    assert ["ftrace_cpu_has_data_loss", 1] in errors
    assert told == [[f"boot 0 CPU 0: lost {lost} in all"]]
    assert events == [[5018]]


@needs_processor
def test_a_dump_that_lost_most(session: Callable[[str], Path], tmp_path: Path) -> None:
    """Buffers that were overrun, of which pages are missing; those on other clocks are left out."""
    recording = tracekit.open(session("vmcore-7.2"))
    errors, names, total = query(
        exported(session("vmcore-7.2"), tmp_path / "x.pftrace"),
        ERRORS,
        COUNT,
        "select sum(value) from stats where name = 'ftrace_cpu_overrun_delta'",
    )
    assert {name for name, _ in errors} == {"ftrace_cpu_has_data_loss"}
    ours = Counter(name.partition(":")[2] for name in recording.timeline["event"].to_pylist())
    assert dict(names) == ours
    assert total == [[sum(cpu.lost or 0 for cpu in recording.report().boots[0].cpus)]]


@pytest.mark.parametrize(
    "options", [["-o", "x.zst"], ["-o", "x.csv"], ["-o", "-", "--open"], ["--per-event", "d"]]
)
def test_wrong_usage(
    options: list[str], session: Callable[[str], Path], tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["export", str(session("same-boot-7.2")), "--format", "perfetto", *options]
    assert main(command) == 2
    assert list(tmp_path.iterdir()) == []


def test_the_page_alone_is_given_the_trace(tmp_path: Path) -> None:
    file = tmp_path / "x.pftrace"
    file.write_bytes(b"trace")
    server = TraceServer(file, 0)
    with pytest.raises(SourceError, match="cannot listen"):
        TraceServer(file, server.server_address[1])
    opened: list[str] = []
    thread = threading.Thread(target=server.serve, args=[opened.append])
    thread.start()
    url = server.address.partition("?url=")[2]
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(url.rpartition("/")[0])
    with urllib.request.urlopen(url) as reply:
        assert reply.headers["Access-Control-Allow-Origin"] == "https://ui.perfetto.dev"
        assert reply.read() == b"trace"
    thread.join()
    assert opened == [server.address]
