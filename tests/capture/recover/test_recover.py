"""recover: real handovers whole, and runs before and after it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.machine_trees import OLD_TEXT, PAGE, new_machine, noise, region
from tests.support.sessions.recovering import codes, owners, prepare, run
from tracekit.capture.recover.recover import recover
from tracekit.capture.save.snapshot import snapshot
from tracekit.parameters import parse_region
from tracekit.session import Session
from tracekit.sysroot import Sysroot


@pytest.mark.parametrize(
    ("name", "release", "text_address"),
    [
        ("handover-7.2-tsc", "7.2.13", 0xFFFFFFFF99800000),
        ("handover-7.2-to-7.3-tsc", "7.3.4", 0xFFFFFFFFB6C00000),
    ],
)
def test_a_real_handover(
    capture: Callable[[str], Path], tmp_path: Path, name: str, release: str, text_address: int
) -> None:
    trees = capture(name)
    snapshot(Sysroot(trees / "old"), tmp_path / "S")
    result = recover(Sysroot(trees / "new"), tmp_path / "S")
    assert (result.boot, result.release, result.previous_known) == (1, release, True)
    assert owners(result) == {"tkA": 0, "tkB": 1}
    assert result.diagnostics == ()
    session = Session.open(tmp_path / "S")
    assert session.manifest.state == "recovered"
    assert session.boots == [0, 1]
    assert session.diagnostics == []
    core = (trees / "new/proc/kcore").read_bytes()
    for boot, region_name, at in ((1, "tkB", 0x1000), (0, "tkA", 0x401000)):
        raw = core[at : at + (4 << 20)]
        assert session.read(f"boots/{boot}/regions/{region_name}.raw") == raw
        told = session.json(f"boots/{boot}/regions/{region_name}.json")
        assert told["sha256"] == hashlib.sha256(raw).hexdigest()
        assert (told["carrier"], told["found_by"]) == ("kcore", "kho memblock")
        assert told["size"] == 4 << 20
    evidence = session.json("boots/0/regions/tkA.json")["owner_evidence"]
    assert f"_text in its header, {text_address:#x}" in evidence
    assert session.kernel(0)["text_address"] == text_address
    assert session.kernel(1)["kexec_metadata"] == {
        "version": 1, "release": "7.2.13", "kexec_count": 1,
    }  # fmt: skip
    kho = trees / "new/sys/kernel/debug/kho"
    for rel in session.list("boots/1/kho/"):
        assert session.read(rel) == (kho / rel.removeprefix("boots/1/kho/")).read_bytes()
    assert session.has("boots/1/kho/in/sub_fdts/memblock")
    for cpu in ("cpu0", "cpu1"):
        pipe = f"per_cpu/{cpu}/trace_pipe_raw"
        raw = (trees / "new/sys/kernel/tracing" / pipe).read_bytes()
        assert session.read(f"boots/1/tracefs/{pipe}") == raw


def test_a_region_read_by_the_boot_that_wrote_it(
    capture: Callable[[str], Path], tmp_path: Path
) -> None:
    tree = capture("same-boot-7.2") / "old"
    snapshot(Sysroot(tree), tmp_path / "S")
    result = recover(Sysroot(tree), tmp_path / "S", [parse_region("tkA@0x7d600000:4M")])
    session = Session.open(tmp_path / "S")
    assert session.boots == [0]
    assert owners(result) == {"tkA": 0}
    assert session.read("boots/0/regions/tkA.raw") == (tree / "proc/kcore").read_bytes()[-4 << 20 :]


def test_a_snapshot_of_the_new_boot_afterwards(tmp_path: Path) -> None:
    prepare(tmp_path)
    run(tmp_path, new_machine())
    result = snapshot(Sysroot(tmp_path / "new"), tmp_path / "S")
    assert (result.boot, result.replaced) == (1, True)
    session = Session.open(tmp_path / "S")
    assert session.manifest.state == "recovered"
    assert session.kernel(1)["kexec_metadata"]["release"] == "7.2.13"
    assert session.read("boots/1/tracefs/per_cpu/cpu0/trace_pipe_raw") == noise(2 * PAGE, "p0")
    assert session.has("boots/1/regions/tkB.raw")


def test_the_new_kernel_without_tracefs(tmp_path: Path) -> None:
    """The old kernel's events can be decoded all the same."""
    prepare(tmp_path)
    tree = new_machine().write(tmp_path / "new")
    (tree / "sys/kernel/tracing").rename(tree / "away")
    result = recover(Sysroot(tree), tmp_path / "S")
    assert codes(result) == ["tracefs-absent", "kernel-unknown"]  # ... and with it the page size
    session = Session.open(tmp_path / "S")
    assert session.boots == [0, 1]
    assert session.read("boots/0/regions/tkA.raw") == region(OLD_TEXT, "A")
