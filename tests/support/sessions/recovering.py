"""Runs of recover on small machines, and what they say of each region."""

from __future__ import annotations

from pathlib import Path

from tests.support.machine_trees import Machine, new_machine, old_machine
from tracekit.capture.recover.recover import RecoverResult, recover
from tracekit.capture.save.snapshot import SnapshotResult, snapshot
from tracekit.parameters import RegionSpec
from tracekit.session import Session
from tracekit.sysroot import Sysroot


def prepare(tmp_path: Path, old: Machine | None = None) -> Path:
    """A session with a snapshot of the old machine."""
    tree = (old or old_machine()).write(tmp_path / "old")
    snapshot(Sysroot(tree), tmp_path / "S")
    return tmp_path / "S"


def run(
    tmp_path: Path, new: Machine, *regions: RegionSpec, name: str = "new"
) -> tuple[RecoverResult, Session]:
    result = recover(Sysroot(new.write(tmp_path / name)), tmp_path / "S", regions)
    return result, Session.open(tmp_path / "S")


def owners(result: RecoverResult) -> dict[str, int | None]:
    return {r.name: r.boot for r in result.regions}


def codes(result: RecoverResult) -> list[str]:
    return [d.code for d in result.diagnostics]


def take(machine: Machine, tmp_path: Path, name: str = "old") -> tuple[SnapshotResult, Session]:
    result = snapshot(Sysroot(machine.write(tmp_path / name)), tmp_path / "S")
    return result, Session.open(tmp_path / "S")


def new_machine_tree(tmp_path: Path) -> Path:
    """The tree of a machine after a handover."""
    return new_machine().write(tmp_path / "new")
