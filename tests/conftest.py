"""Reference captures, unpacked once a test run."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path

import pytest
import zstandard

CAPTURES = Path(__file__).parent / "captures"


@pytest.fixture(scope="session")
def capture(tmp_path_factory: pytest.TempPathFactory, worker_id: str = ""):
    """capture(name) -> directory of the unpacked reference capture (holds old/ and maybe new/)."""
    base = tmp_path_factory.mktemp("captures")

    def unpack(name: str) -> Path:
        target = base / name
        if not target.exists():
            raw = zstandard.ZstdDecompressor().stream_reader((CAPTURES / f"{name}.tar.zst").open("rb"))
            with tarfile.open(fileobj=io.BufferedReader(raw), mode="r|") as tar:
                tar.extractall(base, filter="data")
        return target

    yield unpack
    shutil.rmtree(base, ignore_errors=True)
