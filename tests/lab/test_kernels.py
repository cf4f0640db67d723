"""Which kernels the lab has, and which one a version means."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracekit.errors import LabError, UsageError
from tracekit.lab.kernel_build import build_kernel
from tracekit.lab.kernels import (
    available,
    built_directory,
    choose,
    config,
    find,
    stock_directory,
    stock_kernels,
)
from tracekit.lab.stock_build import build_stock


def test_ready_kernels_and_built_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ready = tmp_path / "ready"
    built = built_directory(tmp_path)
    for directory in (ready, built):
        directory.mkdir()
    (built / "bzImage-7.2.13-kho").touch()
    for name in ("bzImage-7.10.1-kho", "bzImage-7.3-rc2-kho", "bzImage-kho", "vmlinux-7.4-kho"):
        (ready / name).touch()
    monkeypatch.delenv("TRACEKIT_LAB_KERNELS", raising=False)
    assert list(available(tmp_path)) == ["7.2.13"]
    monkeypatch.setenv("TRACEKIT_LAB_KERNELS", str(ready))
    found = available(tmp_path)
    assert list(found) == ["7.2.13", "7.3-rc2", "7.10.1"]
    assert found["7.10.1"] == ready / "bzImage-7.10.1-kho"
    monkeypatch.setenv("TRACEKIT_LAB_KERNELS", str(tmp_path / "nowhere"))
    with pytest.raises(LabError, match="nowhere"):
        available(tmp_path)


def test_a_version_means_the_newest_that_begins_with_it() -> None:
    there = ["7.2.9", "7.2.13", "7.20.1"]
    assert choose("7.2", there) == "7.2.13"
    assert choose("7.2.9", there) == "7.2.9"
    with pytest.raises(LabError, match=r"no kernel 7.4.1 .*7.2.9, 7.2.13, 7.20.1\n.*--kernel 7.4,"):
        choose("7.4.1", there)


def test_a_stock_kernel_is_called_by_its_suite_or_its_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRACEKIT_LAB_KERNELS", raising=False)
    there = {"trixie": ["6.12.9+deb13-amd64", "6.12.118+deb13-amd64"],
             "trixie-backports": ["7.3.4+deb13-amd64"]}  # fmt: skip
    for suite, releases in there.items():
        for release in releases:
            place = stock_directory(tmp_path) / suite / release
            place.mkdir(parents=True)
            (place / "vmlinuz").touch()
    built_directory(tmp_path).mkdir()
    (built_directory(tmp_path) / "bzImage-7.3.4-kho").touch()
    newest = find("debian:trixie", tmp_path)
    assert (newest.release, newest.suite, newest.stock) == ("6.12.118+deb13-amd64", "trixie", True)
    assert find(newest.name, tmp_path) == newest
    assert find("debian:6.12.9+deb13-amd64", tmp_path).release == "6.12.9+deb13-amd64"
    assert find("debian:7.3", tmp_path).suite == "trixie-backports"
    own = find("7.3", tmp_path)
    assert (own.release, own.name, own.stock) == ("7.3.4", "7.3.4", False)
    assert len(stock_kernels(tmp_path)) == 3
    assert build_stock(tmp_path, "debian:trixie", print) == newest  # nothing is fetched
    for wanted, next_step in (("debian:sid", "debian:sid"), ("debian:6.1", "debian:trixie")):
        with pytest.raises(LabError, match=rf"debian:trixie \(6.12.9.*\n.*--kernel {next_step}$"):
            find(wanted, tmp_path)


@pytest.mark.parametrize("name", ["debian:", "debian:../x", "debian:trixie/../..", "debian:6.12"])
def test_a_suite_is_no_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="names no suite"):
        build_stock(tmp_path, name, print)


def test_the_shipped_configuration_can_hand_over() -> None:
    options = config().decode().split()
    assert len(options) == len(set(options))
    for name in ("KEXEC_HANDOVER", "KEXEC_FILE", "FTRACE", "IKHEADERS", "SQUASHFS", "OVERLAY_FS"):
        assert f"CONFIG_{name}=y" in options


def test_a_series_is_no_path(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="name one like"):
        build_kernel(tmp_path, "7.2/../..", print, print)
