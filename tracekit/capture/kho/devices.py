"""PCI devices as sysfs shows them: driver, IOMMU group, bus mastering, what could reset them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from tracekit.errors import SourceError
from tracekit.frozen import dataclass
from tracekit.sysroot import Sysroot

__all__ = ["PciDevice", "device_from_dict", "read_devices"]

_DEVICES = "sys/bus/pci/devices"
_ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_COMMAND = 4  # offset of the command register, include/uapi/linux/pci_regs.h
_BUS_MASTER = 4  # PCI_COMMAND_MASTER
_CONFIG = 64  # bytes that anybody may read
_MOST = 1 << 12
_TEXT = 100
_TEXTS = ("address", "kind", "identity", "driver", "group", "domain")


@dataclass(frozen=True, slots=True)
class PciDevice:
    """A device. ``bus_master``: whether it may do DMA, None where its registers cannot be read.

    ``group`` is the number of its IOMMU group and ``domain`` the type of the group's default domain
    (``DMA``, ``DMA-FQ``, ``identity``, ``blocked``), '' where there is no IOMMU. ``attached``: the
    type of the domain that the group is attached to, which is another one (``unmanaged``) while
    a program drives the device by VFIO; '' where the kernel's memory was not read. ``reset``: the
    methods of resetting it.
    """

    address: str
    kind: str
    identity: str
    driver: str
    group: str
    domain: str
    bus_master: bool | None
    reset: tuple[str, ...]
    attached: str = ""

    @property
    def vfio(self) -> bool:
        """Whether its driver is VFIO's or one of VFIO's variants (``mlx5-vfio-pci``)."""
        return "vfio" in self.driver

    @property
    def domain_text(self) -> str:
        """The type of its IOMMU domain, of the default one where it is attached to another."""
        if self.attached and self.attached != self.domain:
            return f"{self.attached}, {self.domain or 'unknown'} by default"
        return self.domain or "domain unknown"

    @property
    def reach(self) -> str:
        """Where its DMA could go."""
        if not self.group:
            return "anywhere: no IOMMU is between it and memory"
        if self.vfio and not self.attached:
            return "where it is not known: a program may have given it a domain of its own by VFIO"
        domain = self.attached or self.domain
        if domain == "identity":
            return "anywhere: its IOMMU domain is the identity"
        if domain == "blocked":
            return "nowhere: its IOMMU domain blocks it"
        if domain == "unmanaged":
            return "where its program mapped memory for it, while the IOMMU keeps those page tables"
        return "through the old kernel's page tables, while the IOMMU keeps them"

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {**asdict(self), "reset": list(self.reset)}


def device_from_dict(document: Mapping[str, Any]) -> PciDevice:
    """What :meth:`PciDevice.as_dict` made.

    Raises :class:`KeyError` or :class:`TypeError` for anything else.
    """
    master = document["bus_master"]
    return PciDevice(
        **{name: str(document[name])[:_TEXT] for name in _TEXTS},
        bus_master=None if master is None else bool(master),
        reset=tuple(str(one)[:_TEXT] for one in document["reset"][:16]),
        attached=str(document.get("attached", ""))[:_TEXT],
    )


def _word(root: Sysroot, rel: str) -> str:
    data = root.get(rel) or b""
    return data[:_TEXT].decode("ascii", "replace").strip()


def _master(root: Sysroot, rel: str) -> bool | None:
    try:
        stream = root.open_binary(rel)
        if stream is None:
            return None
        with stream:
            raw = stream.read(_CONFIG)
    except (OSError, SourceError):
        return None
    return bool(raw[_COMMAND] & _BUS_MASTER) if raw and len(raw) > _COMMAND else None


def _device(root: Sysroot, address: str) -> PciDevice:
    base = f"{_DEVICES}/{address}"
    identity = f"{_word(root, f'{base}/vendor')}:{_word(root, f'{base}/device')}"
    return PciDevice(
        address,
        _word(root, f"{base}/class"),
        identity.replace("0x", ""),
        root.link(f"{base}/driver").rpartition("/")[2],
        root.link(f"{base}/iommu_group").rpartition("/")[2],
        _word(root, f"{base}/iommu_group/type"),
        _master(root, f"{base}/config"),
        tuple(_word(root, f"{base}/reset_method").split()[:16]),
    )


def read_devices(root: Sysroot) -> list[PciDevice]:
    """The devices, in order of their addresses.

    Raises :class:`~tracekit.errors.SourceError` where sysfs cannot be read.
    """
    names = [name for name in root.names(_DEVICES) if _ADDRESS.fullmatch(name)]
    return [_device(root, name) for name in names[:_MOST]]
