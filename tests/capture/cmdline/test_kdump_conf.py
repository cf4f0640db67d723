"""How kdump writes its dumps, by its configuration."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.capture.cmdline.kdump_conf import DEBIAN, FEDORA, collectors
from tracekit.sysroot import Sysroot


def levels(tmp_path: Path, rel: str, text: str) -> list[int | None]:
    path = tmp_path / rel
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return [c.level for c in collectors(Sysroot(tmp_path))]


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("USE_KDUMP=1\n", 31),
        ('#MAKEDUMP_ARGS="-c -d 17"\n', 31),
        ('MAKEDUMP_ARGS="-c -d 17"\n', 17),
        ("MAKEDUMP_ARGS='-F -c -d23'\n", 23),
        ('MAKEDUMP_ARGS="-c -d 31"\nexport MAKEDUMP_ARGS="-cd 23"\n', 23),
        ('MAKEDUMP_ARGS="-c -d 1,31"\n', 1),  # the level that is tried first
        ('MAKEDUMP_ARGS="-c"\n', 0),
        ("MAKEDUMP_ARGS=\n", 31),
    ],
)
def test_debian(tmp_path: Path, text: str, level: int) -> None:
    assert levels(tmp_path, DEBIAN, text) == [level]


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("path /var/crash\n", 31),
        ("# core_collector makedumpfile -d 1\n", 31),
        ("core_collector makedumpfile -l --message-level 7 -d 23\n", 23),
        ("core_collector makedumpfile -l --message-level 7 -d 31\n", 31),
        ("core_collector makedumpfile -l --message-level 7\n", 0),
        ("core_collector scp\n", None),
        ("core_collector cp --sparse=always\n", None),
    ],
)
def test_fedora(tmp_path: Path, text: str, level: int | None) -> None:
    assert levels(tmp_path, FEDORA, text) == [level]


def test_none_is_installed(tmp_path: Path) -> None:
    assert list(collectors(Sysroot(tmp_path))) == []


@given(st.binary(max_size=200))
def test_any_file(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    root = tmp_path_factory.mktemp("kdump")
    for rel in (DEBIAN, FEDORA):
        (root / rel).parent.mkdir(parents=True, exist_ok=True)
        (root / rel).write_bytes(data)
    assert len(list(collectors(Sysroot(root)))) == 2
