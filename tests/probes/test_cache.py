"""Compiled programs that are kept."""

from __future__ import annotations

import os
from pathlib import Path

from tracekit.probes import cache
from tracekit.probes.objects import Objects

WANTED = Objects((), {"tk_call": bytes(8)}, "headers")


def test_what_was_kept_is_found_under_its_name_only(tmp_path: Path) -> None:
    place = tmp_path / "new" / "bpf"
    assert cache.kept(place, "one") is None
    cache.keep(place, "one", WANTED)
    assert cache.kept(place, "one") == WANTED
    assert cache.kept(place, "two") is None
    assert [path.name for path in place.iterdir()] == ["one"]


def test_what_others_could_have_written_is_not_loaded(tmp_path: Path) -> None:
    cache.keep(tmp_path, "one", WANTED)
    for path in (tmp_path / "one", tmp_path):
        mode = path.stat().st_mode
        path.chmod(mode | 0o022)
        assert cache.kept(tmp_path, "one") is None
        path.chmod(mode)
    assert cache.kept(tmp_path, "one") == WANTED
    (tmp_path / "link").symlink_to(tmp_path / "one")
    assert cache.kept(tmp_path, "link") is None


def test_what_is_damaged_is_not_loaded_but_replaced(tmp_path: Path) -> None:
    cache.keep(tmp_path, "one", WANTED)
    (tmp_path / "one").write_bytes((tmp_path / "one").read_bytes()[:-1])
    assert cache.kept(tmp_path, "one") is None
    cache.keep(tmp_path, "one", WANTED)
    assert cache.kept(tmp_path, "one") == WANTED


def test_the_oldest_go(tmp_path: Path) -> None:
    for number in range(20):
        cache.keep(tmp_path, str(number), WANTED)
        os.utime(tmp_path / str(number), (number, number))
    cache.keep(tmp_path, "last", WANTED)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"last", *(str(number) for number in range(5, 20))}


def test_where_nothing_can_be_kept_nothing_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache.keep(tmp_path / "file" / "bpf", "one", WANTED)
