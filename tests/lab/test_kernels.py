"""Which kernels the lab has, and which one a version means."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracekit.errors import LabError, UsageError
from tracekit.lab.kernel_build import build_kernel
from tracekit.lab.kernels import available, built_directory, choose, config


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


def test_the_shipped_configuration_can_hand_over() -> None:
    options = config().decode().split()
    assert len(options) == len(set(options))
    for name in ("KEXEC_HANDOVER", "KEXEC_FILE", "FTRACE", "IKHEADERS", "SQUASHFS", "OVERLAY_FS"):
        assert f"CONFIG_{name}=y" in options


def test_a_series_is_no_path(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="name one like"):
        build_kernel(tmp_path, "7.2/../..", print, print)
