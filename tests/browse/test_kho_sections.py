"""The interface's KHO view shows what ``tracekit kho`` shows, from the same code."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import tracekit
from tests.support.kho.kernel_writer import KhoKernel
from tests.support.kho.machines import OUTGOING, new, old
from tracekit.browse.kho_tree import Item, read_kho_tree
from tracekit.capture.kho.arrival import compare
from tracekit.capture.kho.inspect import sections
from tracekit.capture.kho.saved import from_session
from tracekit.capture.save.snapshot import snapshot
from tracekit.session import Session
from tracekit.sysroot import Sysroot


def child(item: Item, label: str) -> Item:
    (found,) = (c for c in item.children if c.label == label)
    return found


def opened(items: tuple[Item, ...] | list[Item]) -> list[Item]:
    return [replace(one, closed=False) for one in items]


def test_both_kernels_and_what_arrived(tmp_path: Path) -> None:
    snapshot(Sysroot(old(tmp_path / "old", OUTGOING)), tmp_path / "S")
    came = {name: list(files) for name, files in OUTGOING.items()}
    snapshot(Sysroot(new(tmp_path / "new", KhoKernel(pending=came))), tmp_path / "S")
    session = Session.open(tmp_path / "S")
    boots = [from_session(session, boot, session.kernel(boot)) for boot in session.boots]
    (jump,) = read_kho_tree(tracekit.open(tmp_path / "S"), lambda done, total: None).items
    for number, (evidence, before) in enumerate(zip(boots, [None, boots[0]], strict=True)):
        shown = child(jump, f"KHO of boot {number}, 7.2.13")
        assert opened(shown.children) == sections(evidence, before)
    (arrived,) = compare(*boots).items()
    assert child(jump, "what arrived").children == arrived.children


def test_a_kernel_alone(tmp_path: Path) -> None:
    snapshot(Sysroot(old(tmp_path / "old", OUTGOING)), tmp_path / "S")
    (only,) = read_kho_tree(tracekit.open(tmp_path / "S"), lambda done, total: None).items
    assert [c.label for c in only.children] == ["State", "Cost", "Preserved map", "Blobs",
                                                "Live state"]  # fmt: skip
