"""Sessions out of the first KHO patches' trees, written from a real kernel's memory."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

import tracekit
from tests.support.memory.trace_lines import lines
from tracekit.capture.recover.dump import recover_dump
from tracekit.capture.recover.seed import (
    recover_seed,
    recover_seed_files,
    seed_tree,
)
from tracekit.capture.save.snapshot import snapshot
from tracekit.cli import main
from tracekit.errors import SourceError
from tracekit.sysroot import Sysroot


@pytest.fixture(scope="module")
def own(capture: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session with the names and formats of the kernel whose memory it is."""
    path = tmp_path_factory.mktemp("own") / "session"
    recover_dump(str(capture("vmcore-7.2") / "vmcore"), path)
    shutil.rmtree(path / "boots/0/tracefs/per_cpu")
    shutil.rmtree(path / "boots/0/tracefs/instances")
    return path


def kernel_text(session: Path, capfdbinary, *options: str) -> list[str]:
    capfdbinary.readouterr()
    assert main(["events", str(session), "--format", "kernel", *options]) == 0
    return lines(capfdbinary.readouterr().out.decode(errors="surrogateescape"))


@pytest.mark.slow
@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
def test_every_line_of_every_version(own, capture, tmp_path, capfdbinary, version) -> None:
    session = Path(shutil.copytree(own, tmp_path / "session"))
    seed = capture("seed-kho")
    result = recover_seed_files(str(seed / f"{version}.fdt"), str(seed / "core"), session)
    assert (result.version, result.boot, result.events, result.unknown) == (version, 0, 1324, 0)
    assert result.pages == {"": 516}
    assert {"seed-owner", "seed-loses"} <= {d.code for d in result.diagnostics}
    ours = kernel_text(session, capfdbinary)
    known = json.loads((seed / "digests.json").read_text())
    assert len(ours) == known["lines"] == 50_930
    digest = hashlib.sha256("\n".join(ours).encode("utf-8", "surrogateescape")).hexdigest()
    assert digest == known["sha256"]


@pytest.fixture(scope="module")
def by_the_right_ones(own, capture, tmp_path_factory) -> Counter[str]:
    """How many of each event there are."""
    session = shutil.copytree(own, tmp_path_factory.mktemp("right") / "session")
    seed = capture("seed-kho")
    recover_seed_files(str(seed / "v3.fdt"), str(seed / "core"), session)
    return Counter(tracekit.open(session).timeline["event"].to_pylist())


@pytest.mark.slow
@pytest.mark.parametrize("version", ["v1", "v3"])
def test_another_kernels_formats_make_no_wrong_event(
    by_the_right_ones, capture, tmp_path, version
) -> None:
    """Those of 7.3.4, which has other ids for 690 of them."""
    session = tmp_path / "session"
    snapshot(Sysroot(capture("handover-7.2-to-7.3-tsc") / "new"), session)
    seed = capture("seed-kho")
    result = recover_seed_files(str(seed / f"{version}.fdt"), str(seed / "core"), session)
    assert result.boot == 1  # no boot of the session wrote it
    recording = tracekit.open(session)
    ours = Counter(recording.timeline["event"].to_pylist())
    wrong = {e: n for e, n in ours.items() if not e.startswith("unknown:")}
    assert {e: by_the_right_ones[e] for e in wrong} == wrong
    assert sum(ours.values()) == 50_930
    unknown = sum(n for e, n in ours.items() if e.startswith("unknown:"))
    missing = {e: n for e, n in by_the_right_ones.items() if e not in wrong}
    assert sum(missing.values()) == unknown
    assert {e.split(":")[0] for e in missing} == {"probes"}  # made at run time


@pytest.mark.slow
def test_an_event_of_the_same_name_that_was_made_at_run_time_is_no_evidence(
    capture, tmp_path
) -> None:
    """7.3.4 with a kprobe event handover:openat; the 7.2.13 had a probes:openat."""
    session = tmp_path / "session"
    root = Path(shutil.copytree(capture("handover-7.2-to-7.3-tsc") / "new", tmp_path / "root"))
    events = root / "sys/kernel/tracing/events"
    fields = (
        ("unsigned long __probe_ip", 8, 8), ("s32 dfd", 16, 4),
        ("__data_loc char[] name", 20, 4), ("u64 flags", 24, 8),
    )  # fmt: skip
    lines_ = "".join(
        f"\tfield:{what};\toffset:{at};\tsize:{size};\tsigned:0;\n" for what, at, size in fields
    )
    common = (events / "sched/sched_switch/format").read_text().split("\n\n")[0].split("\n")[2:]
    (events / "handover/openat").mkdir(parents=True)
    (events / "handover/openat/format").write_text(
        "name: openat\nID: 3000\n" + "\n".join(common) + "\n\n" + lines_
        + '\nprint fmt: "(%lx) dfd=%d", REC->__probe_ip, REC->dfd\n'
    )  # fmt: skip
    snapshot(Sysroot(root), session)
    seed = capture("seed-kho")
    result = recover_seed_files(str(seed / "v1.fdt"), str(seed / "core"), session)
    (collision,) = [d for d in result.diagnostics if d.code == "seed-collision"]
    assert "handover:openat, made at run time" in collision.message
    names = set(tracekit.open(session).timeline["event"].to_pylist())
    assert "handover:openat" not in names


def test_without_any_formats_the_events_are_unknown(capture, tmp_path) -> None:
    seed = capture("seed-kho")
    result = recover_seed_files(str(seed / "v3.fdt"), str(seed / "core"), tmp_path / "session")
    assert (result.boot, result.events) == (0, 0)
    (remark,) = [d for d in result.diagnostics if d.code == "seed-formats"]
    assert "tracekit snapshot" in remark.message
    assert len(tracekit.open(result.session)) == 50_930


@pytest.mark.slow
def test_from_a_tree_of_files(own, capture, tmp_path, capsys) -> None:
    """The tree where those patches show it, the memory in the new kernel's core."""
    root, seed = tmp_path / "root", capture("seed-kho")
    (root / "sys/firmware/kho").mkdir(parents=True)
    (root / "proc").mkdir()
    shutil.copy(seed / "v2.fdt", root / "sys/firmware/kho/dt")
    shutil.copy(seed / "core", root / "proc/kcore")
    assert seed_tree(Sysroot(root)) == "sys/firmware/kho/dt"
    session = Path(shutil.copytree(own, tmp_path / "session"))
    assert main(["recover", "--sysroot", str(root), str(session), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["version"], document["boot"], document["pages"]) == ("v2", 0, {"global": 516})
    (root / "proc/kcore").unlink()
    result = recover_seed(Sysroot(root), "sys/firmware/kho/dt", session)
    assert result.pages == {"": 0}
    assert any(d.code == "seed-incomplete" for d in result.diagnostics)


def test_what_is_no_such_tree(capture, tmp_path) -> None:
    seed, session = capture("seed-kho"), tmp_path / "session"
    kho = tmp_path / "fdt"
    kho.write_bytes(b"\xd0\x0d\xfe\xed" + bytes(60))
    with pytest.raises(SourceError):
        recover_seed_files(str(kho), str(seed / "core"), session)
    with pytest.raises(SourceError, match="No such file"):
        recover_seed_files(str(tmp_path / "nothing"), str(seed / "core"), session)
    assert seed_tree(Sysroot(tmp_path)) is None
