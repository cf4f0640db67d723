"""The initramfs archive, read back by a program of somebody else."""

from __future__ import annotations

import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from tracekit.lab.newc import Member, newc

FILE = stat.S_IFREG | 0o755
DIRECTORY = stat.S_IFDIR | 0o700


def test_an_archive_by_hand() -> None:
    archive = newc([Member("ab", FILE, b"12345")])
    first, rest = archive[:124], archive[124:]
    # magic ino mode uid gid nlink mtime size; name with its NUL and data padded to 4 bytes
    assert first[:54] == b"07070100000001000081ed000000000000000000000001" + (b"00000000")
    assert first[54:62] == b"00000005"
    assert first[94:102] == b"00000003"
    assert first[110:] == b"ab\0\0\0\0" + b"12345\0\0\0"[:8]
    assert rest[110:121] == b"TRAILER!!!\0"
    assert len(archive) % 4 == 0


def test_another_program_reads_it_back(tmp_path: Path) -> None:
    cpio = shutil.which("cpio") or shutil.which("busybox")
    if cpio is None:
        pytest.skip("neither cpio nor busybox on this machine")
    argv = [cpio] if cpio.endswith("cpio") else [cpio, "cpio"]
    members = [Member("bin", DIRECTORY)]
    members += [Member(f"bin/{'x' * n}", FILE, bytes([n]) * n) for n in range(1, 10)]
    archive = newc(members)
    subprocess.run([*argv, "-id"], input=archive, cwd=tmp_path, check=True, capture_output=True)
    assert stat.S_IMODE((tmp_path / "bin").stat().st_mode) == 0o700
    for member in members[1:]:
        assert (tmp_path / member.name).read_bytes() == member.data
        assert (tmp_path / member.name).stat().st_mode == FILE
    assert len(list((tmp_path / "bin").iterdir())) == 9
