"""A disk that boots through GRUB, as an installed machine does; made without root.

The menu is written by the real grub-mkconfig out of the root's own ``/etc/default``, in name spaces
where that root is ``/``. Only grub-probe is stood in for: it asks about disks that are not there
yet. GRUB itself goes where grub-install puts it on BIOS machines: boot.img into the first sector,
core.img after it, its modules into ``/boot/grub``.
"""

from __future__ import annotations

import os
import shutil
import struct
from pathlib import Path

from tracekit.errors import LabError
from tracekit.lab import images
from tracekit.lab.kernels import Kernel
from tracekit.lab.store import scratch
from tracekit.lab.tools import need, run

__all__ = ["grub_disk", "grub_mkconfig", "install_kernel"]

_MODULES = Path("/usr/lib/grub/i386-pc")
_SCRIPTS = Path("/etc/grub.d")
_CORE = ("biosdisk", "ext2", "normal", "part_msdos")
_UUID = "74726163-656b-4974-8c61-620000000001"
_SECTOR = 512
_START = 1 << 20  # of the partition: where partitioning tools begin
_SPARE = 64 << 20  # bytes of the file system for its own structures
_DISK = struct.Struct("<B3sB3sII")  # an entry of the partition table in the first sector
_LINUX = 0x83

# What grub-probe says on a machine that runs from this disk.
_PROBE = f"""#!/bin/sh
for word in "$@"; do case $word in
    --target=device) echo /dev/vdd1 ;;
    --target=fs_uuid) echo {_UUID} ;;
    --target=fs) echo ext2 ;;
    --target=partmap) echo msdos ;;
    --target=drive) echo "(hd0,msdos1)" ;;
    --target=compatibility_hint) echo hd0,msdos1 ;;
    --target=hints_string) echo --hint-bios=hd0,msdos1 ;;
    --target=partuuid) exit 1 ;;
esac; done
"""

_CHROOT = """set -eu
mount --rbind /usr "$1/usr"
mount --bind "$1/grub-probe" "$1/usr/sbin/grub-probe"
mount --rbind /dev "$1/dev"
mount --rbind "$2/boot" "$1/boot"
mount --rbind "$2/etc/default" "$1/etc/default"
exec chroot "$1" /usr/sbin/grub-mkconfig -o /boot/grub/grub.cfg
"""


def install_kernel(root: Path, kernel: Kernel) -> None:
    """Put a kernel and the lab's initramfs into ``root/boot``, as Debian's packages would."""
    (root / "boot").mkdir(parents=True, exist_ok=True)
    shutil.copyfile(kernel.image, root / "boot" / f"vmlinuz-{kernel.release}")
    (root / "boot" / f"initrd.img-{kernel.release}").write_bytes(images.initramfs([kernel]))


def grub_mkconfig(root: Path) -> str:
    """Run grub-mkconfig for ``root``; returns ``boot/grub/grub.cfg``, which lies there after it.

    ``root`` is a tree with ``etc/default/grub``, perhaps ``etc/default/grub.d``, and the kernels
    in ``boot``.
    """
    tools = need("booting through GRUB", ["grub-mkconfig", "unshare", "mount", "chroot"])
    (root / "boot" / "grub").mkdir(parents=True, exist_ok=True)
    name_spaces = ["--mount", *(["--user", "--map-root-user"] if os.geteuid() else [])]
    with scratch(root.parent) as place:
        for name in ("usr", "dev", "boot", "etc/default", "tmp"):
            (place / name).mkdir(parents=True)
        for name in ("bin", "sbin", "lib", "lib64"):
            (place / name).symlink_to(f"usr/{name}")
        shutil.copytree(_SCRIPTS, place / "etc" / "grub.d")
        (place / "grub-probe").write_text(_PROBE)
        (place / "grub-probe").chmod(0o755)
        shell = ["sh", "-c", _CHROOT, "sh", str(place), str(root.resolve())]
        run([tools["unshare"], *name_spaces, *shell])
    return (root / "boot" / "grub" / "grub.cfg").read_text()


def grub_disk(root: Path, image: Path) -> Path:
    """A disk ``image`` with the tree ``root`` on it, made bootable; for :attr:`Plan.disk`."""
    tools = need("booting through GRUB", ["grub-mkimage", "mke2fs"])
    if not (_MODULES / "boot.img").exists():
        raise LabError(
            f"{_MODULES}: GRUB for BIOS machines is not there\n"
            "next: sudo apt-get install grub-pc-bin"
        )
    modules = root / "boot" / "grub" / _MODULES.name
    modules.mkdir(parents=True, exist_ok=True)
    for path in (*_MODULES.glob("*.mod"), *_MODULES.glob("*.lst")):
        shutil.copyfile(path, modules / path.name)
    core = image.with_name(f"{image.name}.core")
    run(
        [
            tools["grub-mkimage"], "-O", _MODULES.name, "-o", core,
            "-p", "(hd0,msdos1)/boot/grub", *_CORE,
        ]
    )  # fmt: skip
    size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file()) + _SPARE
    size &= -(1 << 20)
    with image.open("wb") as disk:
        disk.write(_first_sector((_MODULES / "boot.img").read_bytes(), size))
        # boot.img looks for it in the sector after its own, and its first one for the rest after
        # that: grub-core/boot/i386/pc/boot.S and diskboot.S.
        disk.write(core.read_bytes())
        if disk.tell() > _START:
            raise LabError(f"GRUB's core takes {disk.tell()} bytes: more than before a partition")
        disk.truncate(_START + size)
    core.unlink()
    options = f"offset={_START},root_owner=0:0"
    run(
        [
            tools["mke2fs"], "-q", "-F", "-t", "ext2", "-U", _UUID, "-d", root,
            "-E", options, image, f"{size >> 10}k",
        ]
    )  # fmt: skip
    return image


def _first_sector(boot: bytes, size: int) -> bytes:
    """boot.img with a partition table: one partition of ``size`` bytes."""
    entry = _DISK.pack(0x80, b"\0\2\0", _LINUX, b"\xff" * 3, _START // _SECTOR, size // _SECTOR)
    return boot[:446] + entry + bytes(3 * _DISK.size) + b"\x55\xaa"
