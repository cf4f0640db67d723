"""The process that builds an index: killed, not wanted any more, or out of room."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.sessions.kept_index import kept_in, leftovers, quiet, remarks
from tracekit.browse.index import build as keeping
from tracekit.browse.index.load import ABOUT, DATA, ROWS, load
from tracekit.browse.open import open_recording
from tracekit.session import Session
from tracekit.session.derived import INDEX, stamp

START = f"import sys; from {keeping.__name__} import main; sys.exit(main(sys.argv[1:]))"


def builder(path: Path, directory: int) -> subprocess.Popen[bytes]:
    """The process that builds, as opening a session starts it."""
    return subprocess.Popen(
        [sys.executable, "-c", START, str(path), str(directory)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        pass_fds=[directory], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("lines", range(0, 28, 9))
def test_a_killed_builder_leaves_nothing_that_is_believed(
    longer: Callable[[], Path], lines: int
) -> None:
    path = longer()
    part = path / f".{INDEX}.part-1"
    part.mkdir(mode=0o700)
    fd = os.open(part, os.O_RDONLY)
    with builder(path, fd) as child:
        assert child.stdout is not None
        for _ in range(lines):
            child.stdout.readline()
        child.kill()
    os.close(fd)
    opened = Session.open(path)
    found = load(opened, stamp(opened), part)
    assert found is None or len(found[0]) == 20 * 5018
    assert kept_in(path) is None
    again = open_recording(path, quiet, many=0)
    assert len(again.recording) == 20 * 5018 and not leftovers(path) and not remarks(again)


def test_the_builder_goes_when_it_is_not_wanted(longer: Callable[[], Path]) -> None:
    path = longer()
    part = path / f".{INDEX}.part-1"
    part.mkdir(mode=0o700)
    fd = os.open(part, os.O_RDONLY)
    with builder(path, fd) as child:
        assert child.stdout is not None and child.stdin is not None
        child.stdout.readline()
        child.stdin.close()  # as the kernel does when its parent is killed
        assert child.wait(60) == 1
    assert list(part.iterdir()) == []
    os.close(fd)


@pytest.mark.slow
def test_the_disk_is_not_filled_to_the_last_byte(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Nearly:
        f_bavail, f_frsize = 20_000, 4096

    where = tmp_path / "directory"
    where.mkdir()
    fd = os.open(where, os.O_RDONLY)
    monkeypatch.setattr(os, "fstatvfs", lambda _: Nearly)
    assert keeping.build(str(small), fd, quiet) == 5018
    for name in (ROWS, DATA, ABOUT):
        (where / name).unlink()
    Nearly.f_bavail = 17_000
    with pytest.raises(OSError, match="more bytes are needed"):
        keeping.build(str(small), fd, quiet)
    os.close(fd)
