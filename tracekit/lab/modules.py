"""The modules of a distribution's kernel that a guest of the lab needs, out of its package.

Distributions build what the lab's initramfs mounts as modules, compressed. They are stored as they
are loaded: not compressed, in an order in which busybox's insmod can take them.
"""

from __future__ import annotations

import gzip
import lzma
import re
import shutil
from pathlib import Path

from tracekit.errors import LabError
from tracekit.lab.tools import need, run

__all__ = ["ORDER", "SELECTION", "take_modules"]

#: What ``guest/init`` mounts, and QEMU's devices of every guest.
_FIRST = ("virtio_pci", "virtio_blk", "virtio_rng", "squashfs", "ext4", "overlay", "loop")
#: For modprobe in the guest: other carriers (ramoops, pmem), watchdogs, what systemd wants, VFIO.
_MORE = (
    "autofs4",
    "dax_pmem",
    "device_dax",
    "i6300esb",
    "msr",
    "nd_e820",
    "nd_pmem",
    "ramoops",
    "softdog",
    "vfio_iommu_type1",
    "vfio_pci",
    "virtio_net",
    "virtio_pmem",
)
#: Older kernels look for it by a name of the crypto API, which no file has.
_UNNAMED = ("crc32c_generic",)
SELECTION = (_UNNAMED, _FIRST, _MORE)
#: The file beside the modules that lists, in the order of loading, those of the initramfs.
ORDER = "lab.order"

_FIELD = rb"(?:^|\0)%s=([^\0]*)"  # of the section .modinfo: include/linux/moduleparam.h


def _key(name: str) -> str:
    """``virtio_rng`` of virtio-rng.ko.xz: the kernel takes both signs for the same."""
    return name.split(".ko", 1)[0].replace("-", "_")


def _plain(source: Path, target: Path) -> None:
    """Write the module as the kernel loads it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    match source.suffix:
        case ".xz":
            target.write_bytes(lzma.decompress(source.read_bytes()))
        case ".gz":
            target.write_bytes(gzip.decompress(source.read_bytes()))
        case ".zst":
            zstd = need("unpacking a kernel's modules", ["zstd"])["zstd"]
            run([zstd, "-q", "-d", source, "-o", target])
        case _:
            shutil.copyfile(source, target)


def _needs(module: bytes) -> list[str]:
    """The modules that have to be there before this one."""
    found: list[str] = []
    if match := re.search(_FIELD % b"depends", module):
        found += match[1].decode(errors="replace").split(",")
    for match in re.finditer(_FIELD % b"softdep", module):
        words = match[1].decode(errors="replace").split()
        if words and words[0] == "pre:":
            after = words.index("post:") if "post:" in words else len(words)
            found += words[1:after]
    return [_key(name) for name in found if name]


class _Taken:
    """Modules taken out of the package's tree into ours, each after those it needs."""

    def __init__(self, source: Path, target: Path) -> None:
        self._source, self._target = source, target
        self._files = {_key(path.name): path for path in source.rglob("*.ko*")}
        builtin = (source / "modules.builtin").read_text().split()
        self._builtin = {_key(Path(line).name) for line in builtin}
        self.order: list[str] = []

    def take(self, name: str, *, required: bool = True) -> None:
        """Take a module; none where the kernel has it built in."""
        name = _key(name)
        if name in self._builtin:
            return
        source = self._files.get(name)
        if source is None:
            if required:
                raise LabError(f"{self._source.name}: this kernel has no module {name}")
            return
        relative = source.relative_to(self._source)
        relative = relative.with_name(f"{source.name.split('.ko', 1)[0]}.ko")
        target = self._target / relative
        if target.exists():
            return
        _plain(source, target)
        for needed in _needs(target.read_bytes()):
            self.take(needed, required=False)  # a soft one may be the name of something else
        self.order.append(str(relative))


def take_modules(package: Path, root: Path, release: str) -> None:
    """Put the lab's modules into ``root/lib/modules/RELEASE``, with :data:`ORDER` and depmod's.

    ``package`` is ``.../lib/modules/RELEASE`` of the unpacked packages.
    """
    depmod = need("a stock kernel", ["depmod"])["depmod"]
    target = root / "lib" / "modules" / release
    target.mkdir(parents=True)
    taken = _Taken(package, target)
    for name in _UNNAMED:
        taken.take(name, required=False)
    for name in _FIRST:
        taken.take(name)
    (target / ORDER).write_text("".join(f"{path}\n" for path in taken.order))
    for name in _MORE:
        taken.take(name, required=False)
    for path in package.glob("modules.*"):  # builtin and order: depmod reads them
        shutil.copyfile(path, target / path.name)
    run([depmod, "-b", root, release])
