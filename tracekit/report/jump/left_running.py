"""PCI devices at a jump: which could still do DMA when the old kernel left, and where to.

From the probes (bus mastering when a device's shutdown began and ended), from sysfs as the
snapshot found it (driver, IOMMU), and from what the next kernel found: a device that no driver
there has touched and that is bus master was left so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from tracekit.capture.kho.arrival import preserved_devices
from tracekit.capture.kho.devices import PciDevice
from tracekit.capture.kho.evidence import Evidence
from tracekit.frozen import dataclass
from tracekit.report.devices import CallEnd

__all__ = ["LeftDevice", "left_running"]

_PCI = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_MOST = 1 << 12


@dataclass(frozen=True, slots=True)
class LeftDevice:
    """A PCI device of boot ``boot`` on its way out.

    ``before`` and ``after``: bus master when its shutdown began and when it ended; ``next_found``:
    bus master in the next kernel without a driver of it there. None where that is not known.
    ``running``: whether it could still do DMA when the old kernel left. ``preserved``: by LUO,
    which leaves it running on purpose. ``group`` and default ``domain`` of its IOMMU, and the type
    of the domain it was ``attached`` to ('' where that was not read); '' where there is none, None
    where sysfs was not saved; ``reach``: where its DMA could go.
    """

    boot: int
    address: str
    driver: str
    group: str | None
    domain: str | None
    before: bool | None
    after: bool | None
    next_found: bool | None
    running: bool | None
    preserved: bool | None
    reset: tuple[str, ...]
    reach: str
    attached: str | None = None


def _masters(ends: Sequence[CallEnd], returned: bool) -> Mapping[str, bool]:
    """Device -> bus master at the first begin, or at the last end, of a call."""
    mine = [e for e in ends if e.returned == returned and e.master is not None]
    ordered = sorted(mine, key=lambda e: e.at, reverse=not returned)
    return {e.device.name: bool(e.master) for e in ordered if _PCI.fullmatch(e.device.name)}


def _next_found(device: PciDevice | None) -> bool | None:
    return device.bus_master if device is not None and not device.driver else None


def _either(one: bool | None, other: bool | None) -> bool | None:
    """Whether either says so; None where neither is known."""
    if one or other:
        return True
    return False if one is False or other is False else None


def left_running(
    boot: int, ends: Sequence[CallEnd], old: Evidence, new: Evidence | None
) -> list[LeftDevice]:
    """The PCI devices of a boot that another follows, in order of their addresses."""
    known = {device.address: device for device in old.devices}
    later = {device.address: device for device in (new.devices if new else ())}
    first, last = _masters(ends, False), _masters(ends, True)
    drivers = {e.device.name: e.device.driver for e in ends if e.device.driver}
    kept = preserved_devices(old)
    found: list[LeftDevice] = []
    names: Iterable[str] = sorted({*known, *first, *last})
    for address in list(names)[:_MOST]:
        device = known.get(address)
        # A driver or program may write the register itself, and the kernel's flag is unaware of it.
        before = _either(first.get(address), device.bus_master if device else None)
        next_found = _next_found(later.get(address))
        found.append(
            LeftDevice(
                boot, address,
                drivers.get(address, device.driver if device else ""),
                device.group if device else None,
                device.domain if device else None,
                before, last.get(address), next_found,
                _either(last.get(address), next_found),
                None if kept is None else address in kept,
                device.reset if device else (),
                device.reach if device else "not known: sysfs was not saved",
                device.attached if device else None,
            )
        )  # fmt: skip
    return found
