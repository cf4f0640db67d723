"""Whole handovers, real bytes of real kernels: completeness, names, clock, report."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

import tracekit
from tests.support.ring.simple_decoder import region
from tracekit.ftrace.format import parse_format
from tracekit.recording import Recording

HANDOVERS = {"handover-7.2-tsc": (24_085, 28_019), "handover-7.2-to-7.3-tsc": (30_903, 19_552)}


@pytest.fixture(params=HANDOVERS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def opened() -> dict[str, Recording]:
    return {}


@pytest.fixture
def recording(name: str, session: Callable[[str], Path], opened: dict[str, Recording]) -> Recording:
    if name not in opened:
        opened[name] = tracekit.open(session(name))
    return opened[name]


def test_every_event_is_there_and_named(name: str, recording: Recording) -> None:
    old = recording.report().boots[0]
    assert [c.events for c in old.cpus] == list(HANDOVERS[name])
    assert (old.events, old.lost, old.unreadable) == (sum(HANDOVERS[name]), 0, 0)
    assert not [n for n in recording.event_names if n.startswith("unknown")]
    probes = {n for n in recording.event_names if n.startswith("handover:")}
    assert probes >= {
        "handover:kernel_kexec", "handover:device_shutdown", "handover:machine_shutdown",
        "handover:machine_kexec", "handover:openat", "handover:kexec_file_load_ret",
    }  # fmt: skip
    assert not recording.diagnostics


def test_the_timeline_is_sorted_and_typed(recording: Recording) -> None:
    table = recording.timeline
    types = {f.name: str(f.type) for f in table.schema}
    assert types["ts_ns"] == "int64"
    assert types["boot"] == "uint8"
    assert types["cpu"] == "uint16"
    assert types["pid"] == "int32"
    assert types["ts_raw"] == "uint64"
    assert types["event"].startswith("dictionary<values=string")
    ts = table["ts_ns"].to_pylist()
    assert ts == sorted(ts)
    frame = table.to_pandas()
    assert len(frame) == len(table)
    assert frame["boot"].is_monotonic_increasing
    assert frame.loc[frame["ts_ns"] == 0, "event"].iloc[-1] == "handover:machine_kexec"


def test_probe_arguments_are_typed(recording: Recording) -> None:
    opened = recording.event("handover:openat")
    assert {str(opened.schema.field(n).type) for n in ("dfd", "name", "flags")} == {
        "int32", "string", "uint64",
    }  # fmt: skip
    assert -100 in opened["dfd"].to_pylist()  # AT_FDCWD
    assert "/sys/kernel/kexec_loaded" in opened["name"].to_pylist()
    (image,) = recording.event("handover:machine_kexec")["image"].to_pylist()
    assert image > 0xFF00_0000_0000_0000
    (ret,) = recording.event("kexec_file_load_ret")["ret"].to_pylist()
    assert ret == 0


def test_switches_have_their_real_columns(recording: Recording) -> None:
    table = recording.event("sched:sched_switch")
    frame = table.to_pandas()
    assert (frame["pid"] == frame["prev_pid"]).all()
    named = frame[frame["pid"] == 0]
    assert set(named["comm"]) == {"<idle>"}
    assert named["prev_comm"].str.startswith("swapper/").all()


def test_names_of_tasks_come_from_the_old_kernel(
    name: str, recording: Recording, capture: Callable[[str], Path]
) -> None:
    saved = (capture(name) / "old/sys/kernel/tracing/saved_cmdlines").read_text()
    known = {int(p): c for p, _, c in (line.partition(" ") for line in saved.splitlines())}
    frame = recording.table(args=False).to_pandas()
    old = frame[frame["boot"] == 0]
    seen = dict(zip(old["pid"], old["comm"], strict=True))
    assert {p: seen[p] for p in known if p in seen} == {p: known[p] for p in known if p in seen}
    # started after the last snapshot: only the events know it
    assert "kexec" in set(old["comm"])
    assert not old["comm"].isna().any()


def test_the_new_kernels_formats_would_lie(
    capture: Callable[[str], Path], recording: Recording, name: str
) -> None:
    """The same bytes through the new kernel's formats: other names, and some impossible."""
    tracing = capture(name) / "new/sys/kernel/tracing/events"
    new_names = {}
    for path in tracing.glob("*/*/format"):
        fmt = parse_format(path.read_text(), path.parent.parent.name, str(path))
        new_names[fmt.id] = fmt.full_name
    old_ids = {k.id: k.name for k in recording.kinds if k.boot == 0}
    probes = {i: n for i, n in old_ids.items() if n.startswith("handover:")}
    assert all(new_names.get(i) != n for i, n in probes.items())
    if name == "handover-7.2-to-7.3-tsc":
        assert new_names[1325].startswith("maple_tree:")
        assert old_ids[1325] == "handover:kernel_kexec"
    counted = recording.table(args=False).to_pandas()
    assert not counted[counted["boot"] == 0]["event"].str.startswith("maple_tree").any()


def test_symbols_come_from_the_old_kernel(
    recording: Recording, capture: Callable[[str], Path], name: str
) -> None:
    """An address of the old kernel is another function, or none, in the new one (KASLR)."""
    kallsyms = (capture(name) / "old/proc/kallsyms").read_text()
    lines = kallsyms.splitlines()
    entry = next(int(s.split()[0], 16) for s in lines if s.endswith(" machine_kexec"))
    table = recording.event("handover:machine_kexec")
    assert entry <= table["__probe_ip"][0].as_py() < entry + 16
    args = [e.args for e in recording.report().last_events if e.event == "handover:machine_kexec"]
    assert args[0].startswith("(machine_kexec+0x")


def test_the_new_kernels_own_buffer_reads_as_the_kernel_prints_it(
    name: str, session: Callable[[str], Path], capture: Callable[[str], Path], capfdbinary
) -> None:
    from tracekit.cli import main

    assert main(["events", str(session(name)), "--boot", "1", "--format", "kernel"]) == 0
    ours = capfdbinary.readouterr().out.decode()
    theirs = (capture(name) / "new/sys/kernel/tracing/trace").read_text()
    assert ours == theirs


def test_the_gap_of_the_reference_handover(session: Callable[[str], Path]) -> None:
    report = tracekit.open(session("handover-7.2-tsc")).report()
    (jump,) = report.handovers
    assert jump.gap_raw == 13_619_330_590
    # the TSC runs at 2.44543 GHz: mono_raw of both boots and both kernels' own calibration say so
    assert jump.gap_ns == pytest.approx(13_619_330_590 / 2.44543, abs=20_000)
    assert jump.gap_error_ns is not None
    assert 0 < jump.gap_error_ns < 100_000
    assert report.common_clock
    raw = tracekit.open(session("handover-7.2-tsc")).timeline["ts_raw"].to_pylist()
    assert {111_999_819_196, 125_619_149_786} <= set(raw)


def test_the_report_adds_up(recording: Recording) -> None:
    report = json.loads(json.dumps(recording.report().as_dict()))
    for boot in report["boots"]:
        assert boot["events"] == sum(c["events"] for c in boot["cpus"])
        assert boot["lost"] == sum(c["lost"] for c in boot["cpus"])
        assert {"index", "release", "clock", "clock_error_ns", "unreadable"} <= boot.keys()
        for cpu in boot["cpus"]:
            assert {"cpu", "events", "lost", "first_ns", "last_ns"} <= cpu.keys()
    assert sum(b["events"] for b in report["boots"]) == len(recording)
    phases = report["phases"]
    assert all({"name", "boot", "start_ns", "duration_ns", "observed"} <= p.keys() for p in phases)
    along = [p for p in phases if p["observed"] and p["in_blackout"]]
    for before, after in pairwise(along):
        assert before["start_ns"] + before["duration_ns"] == after["start_ns"]
    total = sum(p["duration_ns"] for p in along)
    assert total == pytest.approx(report["blackout_ns"], abs=10)
    names = [p["name"] for p in phases]
    assert names[:10] == [
        "kexec load", "reboot call", "kernel_kexec", "liveupdate", "notifiers", "device shutdown",
        "migrate", "syscore shutdown", "CPUs stopped", "machine_kexec",
    ]  # fmt: skip
    assert "initcalls: late" in names
    assert names[-1] == "first user process"


def test_the_last_events_of_every_cpu_are_those_before_the_jump(recording: Recording) -> None:
    last = recording.report().last_events
    for cpu in (0, 1):
        mine = [e.ts_ns for e in last if e.cpu == cpu]
        assert len(mine) == 10
        assert mine == sorted(mine)
        assert mine[-1] <= 0
    assert max(last, key=lambda e: e.ts_ns).event == "handover:machine_kexec"


def test_initcalls_agree_with_the_kernels_text(
    recording: Recording, capture: Callable[[str], Path], name: str
) -> None:
    """The slowest initcall, worked out from the new kernel's own text."""
    text = (capture(name) / "new/sys/kernel/tracing/trace").read_text()
    begun: dict[str, int] = {}
    took: dict[str, int] = {}
    for line in text.splitlines():
        for what in ("initcall_start: func=", "initcall_finish: func="):
            head, found, tail = line.partition(what)
            if found:
                cycles, func = int(head.split()[-1].rstrip(":")), tail.split("+")[0]
                if "start" in what:
                    begun[func] = cycles
                else:
                    took[func] = cycles - begun[func]
    slowest = recording.report().initcalls[0]
    assert slowest.function == max(took, key=lambda f: took[f])
    assert slowest.duration_ns == pytest.approx(took[slowest.function] / 2.44543, rel=1e-5)


def test_raw_regions_are_those_of_the_core(
    session: Callable[[str], Path], capture: Callable[[str], Path], name: str
) -> None:
    recording = tracekit.open(session(name))
    assert recording.session.read("boots/0/regions/tkA.raw") == region(capture(name) / "new")
