"""The images of a run, read back by the programs that made their formats."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tracekit.errors import LabError
from tracekit.lab import images, tools


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
    image = images.data_disk(
        tmp_path, {"7.2.13": kernel}, scripts, systemd=True, patience=7, size=64 << 20
    )
    assert debugfs(image, "cat /images/vmlinuz-7.2.13") == "a kernel"
    assert debugfs(image, "cat /scripts/boot0") == "#!/bin/sh -eu\necho hello\n"
    assert debugfs(image, "cat /scripts/boot1") == scripts["boot1"]
    assert debugfs(image, "cat /patience") == "7\n"
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
