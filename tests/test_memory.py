"""How much memory the commands take of a recording that is larger than what they may take."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.distinct import distinct
from benchmarks.measured import measured

_COPIES = 50  # five million events: at once they took a gigabyte
_MOST = 512 << 20  # bytes


@pytest.fixture(scope="module")
def large(session: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session of five million events."""
    where = tmp_path_factory.mktemp("large") / "session"
    distinct(session("same-boot-wide-7.2"), None, where, _COPIES)
    return where


@pytest.mark.slow
@pytest.mark.xdist_group("memory")
@pytest.mark.parametrize(
    "words",
    [
        "export SESSION --format csv -o /dev/null",
        "export SESSION --format parquet -o DIR/out.parquet",
        "export SESSION --format perfetto -o /dev/null",
        "export SESSION --format trace.dat -o DIR/out.dat",
        "events SESSION --event sched_switch",
        "report SESSION",
        "stats SESSION",
    ],
    ids=lambda words: " ".join(words.split()[:4:3]),
)
def test_peak_memory(words: str, large: Path, tmp_path: Path) -> None:
    words = words.replace("SESSION", str(large)).replace("DIR", str(tmp_path))
    command = [sys.executable, "-m", "tracekit", "-q", *words.split()]
    assert measured(command).peak < _MOST
