"""``tracekit kho``: the machine, a saved tree, a session, and a jump."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.kho.kernel_writer import KhoKernel, pci_device
from tests.support.kho.luo_writer import memfd
from tests.support.machine_trees import REGION, TKA, kho_files, new_machine, old_machine
from tracekit.cli import main


def machine(path: Path) -> Path:
    kernel = KhoKernel(regions={"tkA": (TKA, REGION)})
    name = "v\x1b[2Jm"
    kernel.outgoing = {name: [("memfd-v2", memfd(kernel.memory, b"x" * 5000), 1)]}
    tree = replace(old_machine(), cmdline="kho=on liveupdate=on", files=kernel.files())
    root = tree.write(path)
    pci_device(root, "0000:00:01.0", "virtio-pci", master=True)
    return root


def after(path: Path) -> Path:
    files = {n: d for n, d in kho_files({"tkA": (TKA, REGION)}).items() if "/in/" in n}
    kernel = KhoKernel(pending={"vm": []})
    return replace(new_machine(), kho=None, files=kernel.files() | files).write(path)


@pytest.fixture
def session(tmp_path: Path) -> Path:
    for root in (machine(tmp_path / "old"), after(tmp_path / "new")):
        assert main(["snapshot", "--sysroot", str(root), "-o", str(tmp_path / "S")]) == 0
    return tmp_path / "S"


def test_a_saved_tree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["kho", "--sysroot", str(machine(tmp_path))]) == 0
    text = capsys.readouterr().out
    for part in (
        "State                       on", "608 MiB in 3 scratch areas", "1,537 pages, 6.004 MiB",
        "one sign is 4 MiB", "order 9", "tkA", "memfd-v2, 4.883 KiB", "will be handed on",
        "0000:00:01.0", "kho_scratch=LOW,GLOBAL,PERNODE",
    ):  # fmt: skip
        assert part in text, part
    assert "\x1b" not in text
    assert main(["kho", "--sysroot", str(tmp_path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["map"]["out"]["pages"] == 1537
    assert document["luo"]["outgoing"][0]["files"][0]["token"] == 1


def test_a_session(session: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["kho", str(session)]) == 0
    text = capsys.readouterr().out
    assert text.count("one sign is") == 2 and "changed since boot 0" in text
    assert "memfd-v2, 4.883 KiB" in text
    assert main(["kho", str(session), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [boot["state"]["kho"] for boot in document["boots"]] == ["on", "on"]


def test_what_arrived(session: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["kho", "--diff", str(session)]) == 0
    text = capsys.readouterr().out
    assert "region tkA" in text and "arrived" in text and "session vm" in text
    assert main(["kho", "--diff", "--json", str(session)]) == 0
    (jump,) = json.loads(capsys.readouterr().out)["jumps"]
    assert {thing["kind"] for thing in jump["things"]} >= {"region", "blob", "pages", "session"}


def test_the_report_has_it(session: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["report", str(session)]) == 0
    text = capsys.readouterr().out
    assert "Handed over, and what arrived" in text and "PCI devices left running" in text
    assert main(["report", "--json", str(session)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["handed_over"][0]["things"] and document["left_running"]


@pytest.mark.parametrize(
    "words", [("--diff",), ("--sysroot", "/x", "S"), ("nowhere",), ("--sysroot", "/nonexistent")]
)
def test_wrong_use(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["kho", *words]) in (2, 3, 4)
    assert "Traceback" not in capsys.readouterr().err
