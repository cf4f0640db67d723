"""The images of a run, read back by the programs that made their formats."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tracekit.errors import LabError
from tracekit.lab import images, tools
from tracekit.lab.kernels import Kernel
from tracekit.lab.modules import ORDER

RELEASE = "6.12.118+deb13-amd64"


def stock_kernel(place: Path) -> Kernel:
    """A stock kernel with one module, as the lab stores it."""
    modules = place / "lib" / "modules" / RELEASE
    (modules / "kernel" / "fs").mkdir(parents=True)
    (modules / "kernel" / "fs" / "ext4.ko").write_text("ext4")
    (modules / ORDER).write_text("kernel/fs/ext4.ko\n")
    (place / "config").write_text("CONFIG_64BIT=y\n")
    (place / "vmlinuz").write_text("a stock kernel")
    return Kernel(RELEASE, place / "vmlinuz", place, "trixie")


def debugfs(image: Path, request: str) -> str:
    program = shutil.which("debugfs", path=tools.ENVIRONMENT["PATH"])
    assert program is not None
    done = subprocess.run(
        [program, "-R", request, image], capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.mark.skipif(not shutil.which("busybox"), reason="no busybox on this machine")
def test_the_data_disk_holds_what_the_guest_needs(tmp_path: Path) -> None:
    kernel = tmp_path / "bzImage"
    kernel.write_bytes(b"a kernel")
    scripts = {"boot0": "echo hello\n", "boot1": "#!/usr/bin/python3\nprint(1)\n"}
    stock = stock_kernel(tmp_path / "stock")
    (tmp_path / "cache" / "bpf").mkdir(parents=True)
    (tmp_path / "cache" / "bpf" / "12").write_text("programs")
    image = images.data_disk(
        tmp_path, [Kernel("7.2.13", kernel), stock], scripts, tmp_path / "cache",
        systemd=True, patience=7, size=64 << 20,
    )  # fmt: skip
    assert debugfs(image, "cat /images/vmlinuz-7.2.13") == "a kernel"
    assert debugfs(image, f"cat /images/config-{RELEASE}") == "CONFIG_64BIT=y\n"
    module = f"/modules/{RELEASE}/kernel/fs/ext4.ko"
    assert debugfs(image, f"cat {module}") == "ext4"
    assert debugfs(image, "cat /scripts/boot0") == "#!/bin/sh -eu\necho hello\n"
    assert debugfs(image, "cat /scripts/boot1") == scripts["boot1"]
    assert debugfs(image, "cat /patience") == "7\n"
    assert debugfs(image, "cat /cache/bpf/12") == "programs"
    code = debugfs(image, "ls -p /code/tracekit")
    assert "/cli/" in code
    assert "kexec.c" in debugfs(image, "ls -p /code/tracekit/probes/bpf")
    assert "__pycache__" not in code
    assert "counter.abi3.so" in debugfs(image, "ls -p /code/tracekit/_native")
    assert "/100755/" in next(
        line for line in debugfs(image, "ls -p /guest").splitlines() if "/driver/" in line
    )
    assert "Mode:  0700" in debugfs(image, "stat /state")
    assert not (tmp_path / "data").exists()


@pytest.mark.skipif(not shutil.which("busybox"), reason="no busybox on this machine")
def test_the_initramfs_has_the_modules_of_its_stock_kernels(tmp_path: Path) -> None:
    archive = images.initramfs([Kernel("7.2.13", tmp_path), stock_kernel(tmp_path)])
    assert b"modules/7.2.13" not in archive
    assert f"modules/{RELEASE}/order\0".encode() in archive
    assert f"modules/{RELEASE}/ext4.ko\0".encode() in archive
    assert b"ext4.ko\n" in archive


def test_missing_tools_are_named_with_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "_PATH", "/nonexistent")
    with pytest.raises(LabError) as caught:
        tools.need("the lab", ["qemu-system-x86_64", "mke2fs", "busybox"])
    assert "qemu-system-x86_64, mke2fs, busybox" in str(caught.value)
    assert str(caught.value).endswith("apt-get install busybox-static e2fsprogs qemu-system-x86")


def test_a_tool_that_fails_is_quoted() -> None:
    with pytest.raises(LabError, match=r"ls failed with status 2(.|\n)*No such file"):
        tools.run(["ls", "/nonexistent/file"])


def test_the_root_image_has_a_name_of_its_inputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = images.root_image_path(tmp_path)
    monkeypatch.setattr(images, "_PACKAGES", ("strace",))
    assert images.root_image_path(tmp_path) != before
