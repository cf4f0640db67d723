"""snapshot: what a boot is decoded from later."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.machine_trees import OLD_TEXT, Machine, new_machine, old_machine
from tracekit.capture.save.clocks import (
    clock_samples,
    marker_sample,
    merge_markers,
    merge_samples,
    valid_sample,
)
from tracekit.capture.save.kernel import (
    UNKNOWN_KERNEL,
    build_id,
    config_text,
    describe_kernel,
    identity,
    online_cpus,
    symbol_address,
)
from tracekit.capture.save.remarks import Remarks
from tracekit.capture.save.snapshot import SnapshotResult, snapshot
from tracekit.errors import SessionError, SourceError
from tracekit.session import Session
from tracekit.sysroot import Sysroot


def take(machine: Machine, tmp_path: Path, name: str = "old") -> tuple[SnapshotResult, Session]:
    result = snapshot(Sysroot(machine.write(tmp_path / name)), tmp_path / "S")
    return result, Session.open(tmp_path / "S")


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
        "page_size": 4096, "machine": "x86_64", "text_address": 0xFFFFFFFF99800000,
        "trace_clock": "local", "config_hz": 250, "btime_s": 1795352694, "uptime_s": 32.16,
        "kexec_metadata": None, "trace_instances": [
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


# -- the pure functions -----------------------------------------------------------------------


@given(st.binary(max_size=200))
def test_any_notes(data: bytes) -> None:
    found = build_id(data)
    assert found is None or bytes.fromhex(found) in data


def test_a_build_id_after_other_notes() -> None:
    xen = b"\x04\0\0\0\x05\0\0\0\x06\0\0\0Xen\0" + b"12345\0\0\0"
    gnu = b"\x04\0\0\0\x04\0\0\0\x03\0\0\0GNU\0" + b"\xde\xad\xbe\xef"
    assert build_id(xen + gnu) == "deadbeef"
    assert build_id(xen + gnu[:-1]) is None
    assert build_id(xen) is None


@pytest.mark.parametrize("data", [b"", b"rubbish", b"\x1f\x8b" + bytes(40)])
def test_damaged_configs(data: bytes) -> None:
    assert config_text(data) == ""


def test_cpus_and_symbols() -> None:
    assert online_cpus("cpu  1\ncpu0 1\ncpu17 1\nintr 5\n") == 2
    assert online_cpus("") is None
    kallsyms = (
        b"0000000000000000 A fixed\nffffffff81000000 T _text\nffffffffc0000000 t _text\t[mod]\n"
    )
    assert symbol_address(kallsyms, "_text") == 0xFFFFFFFF81000000
    assert symbol_address(kallsyms, "fixed") is None
    assert symbol_address(kallsyms, "_tex.") is None


@given(
    st.dictionaries(
        st.sampled_from(
            ["version", "cmdline", "boot_id", "stat", "uptime", "notes", "kallsyms", "config.gz",
             "header_page", "trace_clock"]
        ),
        st.binary(max_size=60),
    )
)  # fmt: skip
def test_any_kernel_files_describe_some_kernel(files: dict[str, bytes]) -> None:
    kernel = describe_kernel(files)
    assert kernel.keys() == UNKNOWN_KERNEL.keys()
    json.dumps(kernel)
    assert identity(kernel)


def test_an_unknown_kernel_is_like_no_other() -> None:
    assert identity(UNKNOWN_KERNEL) == ""


@pytest.mark.parametrize(
    ("header", "config", "size"),
    [
        ("field: char data; offset:16; size:4080;", b"", 4096),
        ("field: char data; offset:16; size:65520;", b"", 65536),
        ("field: char data; offset:16; size:4081;", b"", None),
        ("", b"", None),
        ("field: char data; offset:16; size:4080;", b"CONFIG_PAGE_SHIFT=14\n", 16384),
    ],
)
def test_page_sizes(header: str, config: bytes, size: int | None) -> None:
    import gzip

    files = {"header_page": header.encode(), "config.gz": gzip.compress(config)}
    assert describe_kernel(files)["page_size"] == size


# -- clocks -----------------------------------------------------------------------------------

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


class Live(Sysroot):
    """A tree that is taken for the running machine."""

    live = True  # type: ignore[assignment]

    def need_root(self, what: str, instead: str = "") -> None:
        pass

    def kernel_log(self) -> bytes | None:
        return None


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
