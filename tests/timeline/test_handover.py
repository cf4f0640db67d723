"""Whole handovers, real bytes of real kernels: completeness, names, clock."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import tracekit
from tests.support.ring.simple_decoder import region
from tests.support.sessions.handovers import HANDOVERS
from tracekit.ftrace.format import parse_format
from tracekit.recording import Recording


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


def test_raw_regions_are_those_of_the_core(
    session: Callable[[str], Path], capture: Callable[[str], Path], name: str
) -> None:
    recording = tracekit.open(session(name))
    assert recording.session.read("boots/0/regions/tkA.raw") == region(capture(name) / "new")
