"""Sessions and datasets of a fleet, made small."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from tests.support.sessions.figures import figure, run
from tracekit.fleet.dataset import Added, Dataset
from tracekit.fleet.tables import of_runs
from tracekit.runs.run import Run

__all__ = ["copies", "dataset_of", "drawn_from"]


def copies(session: Path, folder: Path, count: int) -> list[Path]:
    """Sessions like one, each a recording of its own: a file of the manifest differs."""
    made = []
    for number in range(count):
        target = folder / f"s{number:03d}"
        shutil.copytree(session, target, ignore=shutil.ignore_patterns("timeline.*", "index"))
        manifest = json.loads((target / "manifest.json").read_text())
        manifest["files"]["boots/0/number"] = f"{number:064x}"
        (target / "boots" / "0" / "number").write_text(str(number))
        (target / "manifest.json").write_text(json.dumps(manifest))
        made.append(target)
    return made


def dataset_of(folder: Path, runs: Sequence[Run]) -> Dataset:
    """A dataset of runs made by hand, each a session of its own."""
    dataset = Dataset.at(str(folder), make=True)
    dataset.add([Added(r.fingerprint, r.session, 1, of_runs([r])) for r in runs], [])
    return dataset


def drawn_from() -> list[Run]:
    """Two handovers to draw simulated ones from: a dozen figures each."""
    made = []
    for number, scale in enumerate((1, 3)):
        devices = [figure("device", f"dev{i}", scale * 1_000_000 * (i + 1)) for i in range(4)]
        calls = [figure("initcall", f"call{i}", scale * 2_000_000 * (i + 1), detail="device")
                 for i in range(4)]  # fmt: skip
        phases = [
            figure("phase", "device shutdown", scale * 12_000_000),
            figure("phase", "dark", scale * 900_000_000),
            figure("phase", "initcalls: device", scale * 25_000_000),
        ]
        made.append(run(*phases, *devices, *calls, session=f"base{number}"))
    return made
