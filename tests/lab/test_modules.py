"""The modules out of a distribution's package: unpacked, each after those it needs."""

from __future__ import annotations

import gzip
import lzma
import shutil
from pathlib import Path

import pytest

from tracekit.errors import LabError
from tracekit.lab import tools
from tracekit.lab.modules import ORDER, take_modules

pytestmark = pytest.mark.skipif(
    shutil.which("depmod", path=tools.ENVIRONMENT["PATH"]) is None, reason="no depmod here"
)
RELEASE = "6.12.118+deb13-amd64"


def module(*fields: str) -> bytes:
    """A file with a .modinfo section's text somewhere in it."""
    return b"\x7fELF\0" + b"".join(f"{field}\0".encode() for field in fields) + b"signature"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """``lib/modules/RELEASE`` of a package: what the lab needs, packed in three ways, and more."""
    place = tmp_path / "package" / RELEASE
    fs = place / "kernel" / "fs"
    fs.mkdir(parents=True)
    (fs / "ext4.ko.xz").write_bytes(lzma.compress(module("depends=jbd2,crc16", "name=ext4")))
    (fs / "jbd2.ko.gz").write_bytes(gzip.compress(module("softdep=pre: crc-late post: other")))
    for name in ("crc16", "overlay", "loop", "virtio-rng", "crc-late", "other", "unwanted"):
        (fs / f"{name}.ko").write_bytes(module("depends=", f"name={name}"))
    (fs / "virtio_blk.ko.xz").write_bytes(lzma.compress(module("depends=")))
    builtin = "kernel/drivers/virtio/virtio_pci.ko\nkernel/fs/squashfs/squashfs.ko\n"
    (place / "modules.builtin").write_text(builtin)
    (place / "modules.order").touch()
    return place


def test_each_comes_after_those_it_needs(package: Path, tmp_path: Path) -> None:
    take_modules(package, tmp_path / "root", RELEASE)
    place = tmp_path / "root" / "lib" / "modules" / RELEASE
    order = [Path(line).name for line in (place / ORDER).read_text().split()]
    assert order == [
        "virtio_blk.ko", "virtio-rng.ko", "crc-late.ko", "jbd2.ko", "crc16.ko", "ext4.ko",
        "overlay.ko", "loop.ko",
    ]  # fmt: skip
    assert (place / "kernel/fs/ext4.ko").read_bytes() == module("depends=jbd2,crc16", "name=ext4")
    assert not (place / "kernel/fs/unwanted.ko").exists()
    assert not (place / "kernel/fs/other.ko").exists()


def test_a_kernel_that_cannot_mount_the_guest_is_refused(package: Path, tmp_path: Path) -> None:
    (package / "kernel/fs/overlay.ko").unlink()
    with pytest.raises(LabError, match=f"{RELEASE.replace('+', '.')}.* no module overlay"):
        take_modules(package, tmp_path / "root", RELEASE)


@pytest.mark.skipif(not shutil.which("zstd"), reason="no zstd on this machine")
def test_zstd_is_unpacked(package: Path, tmp_path: Path) -> None:
    overlay = package / "kernel/fs/overlay.ko"
    plain = overlay.read_bytes()
    tools.run(["zstd", "-q", "--rm", overlay])
    take_modules(package, tmp_path / "root", RELEASE)
    unpacked = tmp_path / "root" / "lib" / "modules" / RELEASE / "kernel/fs/overlay.ko"
    assert unpacked.read_bytes() == plain
