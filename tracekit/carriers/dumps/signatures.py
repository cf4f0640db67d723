"""What bytes are that are not what was expected: dumps and memory of other tools, by their magic.

``KDUMP_SIGNATURE`` and the flattened form: makedumpfile's ``diskdump_mod.h`` and
``makedumpfile.h``; ``PERSISTENT_RAM_SIG``: ``fs/pstore/ram_core.c``.
"""

from __future__ import annotations

from tracekit.frozen import dataclass

__all__ = ["HEAD", "PSTORE", "Signature", "identify"]

HEAD = 32  # bytes at the beginning that tell
#: Where ramoops's records are read.
PSTORE = "its records are text: mount -t pstore pstore /sys/fs/pstore (systemd-pstore moves them " \
    "to /var/lib/systemd/pstore)"  # fmt: skip

_AS_ELF = (
    "in the crash kernel save an ELF core: cp --sparse=always /proc/vmcore FILE, or "
    "makedumpfile -E -d 0 /proc/vmcore FILE"
)
_RESTORE = "makedumpfile -R FILE < THIS puts it together; then " + _AS_ELF
_OF_GUEST = (
    "dump the guest's memory instead: virsh dump --memory-only DOMAIN FILE, or dump-guest-memory "
    "FILE in QEMU's monitor"
)
_OF_VMWARE = "vmss2core makes an ELF core of it: vmss2core -N6 THIS VMEM"
_UNPACK = "unpack it first"


@dataclass(frozen=True, slots=True)
class Signature:
    """A format that was recognised: its kind, its name in words, and what to do with it."""

    kind: str
    name: str
    remedy: str


_MAGICS: tuple[tuple[bytes, Signature], ...] = (
    (b"KDUMP   ", Signature("kdump", "a compressed dump of makedumpfile (KDUMP)", _AS_ELF)),
    (b"DISKDUMP", Signature("diskdump", "a dump in diskdump format (DISKDUMP)", _AS_ELF)),
    (b"makedumpfile", Signature("flattened", "a flattened dump of makedumpfile", _RESTORE)),
    (b"DBGC", Signature("ramoops", "memory of ramoops (zones of pstore)", PSTORE)),
    (b"LibvirtQemudSave", Signature("qemu-state", "a guest that libvirt saved", _OF_GUEST)),
    (b"QEVM", Signature("qemu-state", "the state of a guest of QEMU", _OF_GUEST)),
    (b"QFI\xfb", Signature("disk", "a disk image of QEMU (qcow2)", _OF_GUEST)),
    (
        b"EMiL",
        Signature(
            "lime",
            "a dump of LiME",
            "load LiME with format=padded, which is plain memory from address 0",
        ),
    ),
    (b"\x28\xb5\x2f\xfd", Signature("packed", "compressed with zstd", _UNPACK)),
    (b"\x1f\x8b", Signature("packed", "compressed with gzip", _UNPACK)),
    (b"\xfd7zXZ\0", Signature("packed", "compressed with xz", _UNPACK)),
    (b"\x04\x22\x4d\x18", Signature("packed", "compressed with lz4", _UNPACK)),
    (b"BZh", Signature("packed", "compressed with bzip2", _UNPACK)),
    (b"PAGEDU", Signature("windows", "a crash dump for Windows' debuggers", _OF_GUEST)),
    (b"\xd2\xbe\xd2\xbe", Signature("vmware", "the state of a guest of VMware", _OF_VMWARE)),
    (b"\xd1\xba\xd1\xba", Signature("vmware", "the state of a guest of VMware", _OF_VMWARE)),
    (b"\xd0\xbe\xd2\xbe", Signature("vmware", "the state of a guest of VMware", _OF_VMWARE)),
)


def identify(head: bytes) -> Signature | None:
    """What begins with these bytes (:data:`HEAD` are enough), None where nothing is known."""
    return next((found for magic, found in _MAGICS if head.startswith(magic)), None)
