"""snapshot: what a boot is decoded from later."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.machine_trees import OLD_TEXT, new_machine, old_machine
from tests.support.sessions.recovering import take
from tracekit.capture.save.snapshot import snapshot
from tracekit.errors import SessionError, SourceError
from tracekit.session import Session
from tracekit.sysroot import Sysroot


def test_a_capture(capture: Callable[[str], Path], tmp_path: Path) -> None:
    tree = capture("handover-7.2-tsc") / "old"
    result = snapshot(Sysroot(tree), tmp_path / "S")
    assert (result.boot, result.release, result.formats) == (0, "7.2.13", 1328)
    assert not result.replaced
    assert result.diagnostics == ()
    session = Session.open(tmp_path / "S")
    assert session.manifest.state == "snapshot"
    assert session.boots == [0]
    kernel = dict(session.kernel(0))
    assert kernel.pop("version").startswith("Linux version 7.2.13 (root@vm)")
    assert kernel.pop("cmdline") == (tree / "proc/cmdline").read_text().strip()
    assert kernel == {
        "known": True, "release": "7.2.13", "build_id": "4952f32d6f979738945f53daf52bd2d2b12d1447",
        "boot_id": (tree / "proc/sys/kernel/random/boot_id").read_text().strip(), "cpus": 2,
        "hostname": None,
        "page_size": 4096, "machine": "x86_64", "text_address": 0xFFFFFFFF99800000,
        "trace_clock": "local", "config_hz": 250, "btime_s": 1795352694, "uptime_s": 32.16,
        "kexec_metadata": None, "boot_loader": None, "trace_instances": [
            {"name": "tk", "flags": ["traceoff"], "region": "tkA", "address": None, "size": None,
             "events": [], "backup": None}
        ],
    }  # fmt: skip
    tracefs = tree / "sys/kernel/tracing"
    for name in session.list("boots/0/tracefs/"):
        assert session.read(name) == (tracefs / name.removeprefix("boots/0/tracefs/")).read_bytes()
    assert len(session.list("boots/0/tracefs/events/")) == 1330
    for name in ("kallsyms", "modules", "iomem", "cpuinfo"):
        assert session.read(f"boots/0/{name}") == (tree / "proc" / name).read_bytes()
    assert session.read("boots/0/dmesg") == (tree / "dmesg").read_bytes()
    assert b"CONFIG_HZ=250" in session.read("boots/0/config")
    samples = json.loads(session.read("boots/0/clocks.json"))["samples"]
    taken = [
        s for n in ("clocks.json", "clocks-last.json") for s in json.loads((tree / n).read_text())
    ]
    assert len(samples) == len(taken) == 500
    assert [s["tsc_before"] for s in samples] == sorted(s["tsc_before"] for s in taken)
    assert {s["source"] for s in samples} == {"clocks.json", "clocks-last.json"}


def test_instances_and_stats(tmp_path: Path) -> None:
    _, session = take(old_machine(), tmp_path)
    names = session.list("boots/0/tracefs/")
    assert "boots/0/tracefs/instances/tk/trace_clock" in names
    assert "boots/0/tracefs/instances/tk/per_cpu/cpu0/stats" in names
    assert "boots/0/tracefs/per_cpu/cpu0/stats" in names


def test_the_next_boot_is_added(tmp_path: Path) -> None:
    take(old_machine(), tmp_path)
    result, session = take(new_machine(), tmp_path, "new")
    assert (result.boot, result.replaced) == (1, False)
    assert session.boots == [0, 1]


def test_the_same_boot_is_saved_anew(tmp_path: Path) -> None:
    """A later snapshot is better, but keeps the earlier clock samples."""
    machine = old_machine()
    take(machine, tmp_path)
    tracing = "sys/kernel/tracing"
    later = replace(
        machine,
        events=1,
        clock_base=2_000_000,
        files={f"{tracing}/saved_cmdlines": b"1 init\n2 more\n"},
    )
    result, session = take(later, tmp_path, "later")
    assert (result.boot, result.replaced) == (0, True)
    assert session.boots == [0]
    assert session.read("boots/0/tracefs/saved_cmdlines") == b"1 init\n2 more\n"
    assert len([n for n in session.list("boots/0/tracefs/events/") if "format" in n]) == 1
    samples = json.loads(session.read("boots/0/clocks.json"))["samples"]
    assert [s["tsc_before"] for s in samples] == [
        *range(1_000_000, 1_000_003), *range(2_000_000, 2_000_003)
    ]  # fmt: skip
    assert session.diagnostics == []


def test_boots_without_a_boot_id(tmp_path: Path) -> None:
    machine = replace(old_machine(), boot_id="")
    assert take(machine, tmp_path)[0].boot == 0
    assert take(machine, tmp_path, "again")[0].boot == 0
    other = replace(machine, text_address=OLD_TEXT + 0x200000)
    result, session = take(other, tmp_path, "other")
    assert result.boot == 1
    assert [d.where for d in session.diagnostics if d.code == "kernel-unknown"] == [
        "boot 0 kernel.json boot_id", "boot 1 kernel.json boot_id",
    ]  # fmt: skip


def test_no_events_no_snapshot(tmp_path: Path) -> None:
    tree = old_machine().write(tmp_path / "old")
    (tree / "sys/kernel/tracing").rename(tree / "sys/kernel/away")
    with pytest.raises(SourceError, match="mount tracefs"):
        snapshot(Sysroot(tree), tmp_path / "S")
    (tree / "sys/kernel/tracing/events").mkdir(parents=True)
    with pytest.raises(SourceError, match="no event formats"):
        snapshot(Sysroot(tree), tmp_path / "S")
    assert not (tmp_path / "S").exists()


def test_tracefs_below_debugfs(tmp_path: Path) -> None:
    tree = old_machine().write(tmp_path / "old")
    (tree / "sys/kernel/debug").mkdir()
    (tree / "sys/kernel/tracing").rename(tree / "sys/kernel/debug/tracing")
    assert snapshot(Sysroot(tree), tmp_path / "S").formats == 3


@pytest.mark.parametrize(
    ("gone", "code", "where"),
    [
        ("proc/kallsyms", "file-absent", "boot 0 proc/kallsyms"),
        ("proc/cmdline", "file-absent", "proc/cmdline"),
        ("proc/version", "file-absent", "proc/version"),
        ("proc/stat", "file-absent", "proc/stat"),
        ("dmesg", "file-absent", "boot 0 dmesg"),
        ("clocks.json", "clocks-without-tsc", "boot 0 clocks.json"),
        ("sys/kernel/tracing/events/header_page", "file-absent", "header_page"),
        ("sys/kernel/tracing/saved_cmdlines", "file-absent", "saved_cmdlines"),
    ],
)
def test_what_is_missing_becomes_a_diagnostic(
    tmp_path: Path, gone: str, code: str, where: str
) -> None:
    tree = old_machine().write(tmp_path / "old")
    (tree / gone).unlink()
    result = snapshot(Sysroot(tree), tmp_path / "S")
    found = [d for d in result.diagnostics if d.code == code]
    assert len(found) == 1
    assert found[0].where.endswith(where)
    assert Session.open(tmp_path / "S").diagnostics == list(result.diagnostics)


def test_what_cannot_be_read_becomes_a_diagnostic(tmp_path: Path) -> None:
    tree = old_machine().write(tmp_path / "old")
    for rel in ("proc/modules", "sys/kernel/tracing/events/sys/event0/format"):
        (tree / rel).unlink()
        os.mkfifo(tree / rel)
    (tree / "sys/kernel/tracing/instances/evil").symlink_to("/")
    result = snapshot(Sysroot(tree), tmp_path / "S")
    assert result.formats == 2
    assert [d.code for d in result.diagnostics].count("file-unreadable") >= 3


def test_hidden_symbols(tmp_path: Path) -> None:
    machine = replace(old_machine(), text_address=0)
    result, session = take(machine, tmp_path)
    assert session.kernel(0)["text_address"] is None
    assert any("kptr_restrict" in d.message for d in result.diagnostics)


@pytest.mark.parametrize("name", ["..", "a b", "x\ny", "a/../b"])
def test_hostile_names_stay_inside(tmp_path: Path, name: str) -> None:
    machine = old_machine()
    tree = machine.write(tmp_path / "old")
    tracing = tree / "sys/kernel/tracing"
    if "/" not in name and name != "..":
        (tracing / "instances" / name).mkdir()
        (tracing / "instances" / name / "trace_clock").write_text("[local]")
        (tracing / "events/sys" / name).mkdir()
        (tracing / "events/sys" / name / "format").write_text("name: x")
    before = set(tmp_path.rglob("*"))
    snapshot(Sysroot(tree), tmp_path / "S")
    new = set(tmp_path.rglob("*")) - before
    assert all(p.is_relative_to(tmp_path / "S") for p in new)


def test_a_session_of_something_else(tmp_path: Path) -> None:
    tree = old_machine().write(tmp_path / "old")
    with pytest.raises(SessionError, match="not a session"):
        snapshot(Sysroot(tree), tmp_path)
