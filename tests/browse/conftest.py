"""Sessions that may be written, for tests of the index that is kept in them."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.repeated import repeat
from tests.support.sessions.kept_index import quiet
from tracekit.browse.open import open_recording
from tracekit.session.derived import INDEX


@pytest.fixture(scope="session")
def place(
    session: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """place(name) -> a copy of a session that may be written; the index is kept in it."""
    base = tmp_path_factory.mktemp("kept")

    def make(name: str) -> Path:
        target = base / name
        if target.exists():
            return target
        shutil.copytree(session(name), target)
        open_recording(target, quiet, many=0)
        return target

    return make


@pytest.fixture
def small(session: Callable[[str], Path], tmp_path: Path) -> Path:
    """A session of a few thousand events, without an index."""
    ignored = shutil.ignore_patterns(INDEX)
    shutil.copytree(session("same-boot-7.2"), tmp_path / "small", ignore=ignored)
    return tmp_path / "small"


@pytest.fixture(scope="session")
def longer(
    session: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], Path]:
    """A session that takes some time to decode."""
    base = tmp_path_factory.mktemp("longer")
    return lambda: repeat(session("same-boot-7.2"), base / str(time.monotonic_ns()), 20)


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    where = tmp_path / "scratch"
    where.mkdir()
    monkeypatch.setenv("TMPDIR", str(where))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return where
