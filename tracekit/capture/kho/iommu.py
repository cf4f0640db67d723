"""Which IOMMU domain each group is attached to, from the kernel's own memory.

sysfs shows the type of a group's default domain (``iommu_group_show_type()``,
drivers/iommu/iommu.c). While a program drives a device by VFIO or iommufd, its group is attached to
a domain of that program instead, and ``type`` still tells of the default one.
"""

from __future__ import annotations

from tracekit.capture.kho.kernel_view import KernelView

__all__ = ["attached_domains"]

_MOST_GROUPS = 1 << 14
# include/linux/iommu.h: IOMMU_DOMAIN_BLOCKED and its kin, made of __IOMMU_DOMAIN_PAGING (1),
# _DMA_API (2), _PT (4), _DMA_FQ (8), _SVA (16), _PLATFORM (32), _NESTED (64); in sysfs's words
_TYPES = {0: "blocked", 1: "unmanaged", 3: "DMA", 4: "identity", 11: "DMA-FQ", 16: "SVA",
          32: "platform", 64: "nested"}  # fmt: skip


def attached_domains(view: KernelView) -> dict[str, str]:
    """Number of a group -> the type of the domain it is attached to, as sysfs calls types.

    Raises :class:`~tracekit.errors.SourceError` where the kernel has no such list, or its types
    are not known.
    """
    kset = view.number(view.symbol("iommu_group_kset"))
    head = kset + view.offset("kset", "list")
    inside, at, number = (view.offset("iommu_group", name) for name in ("kobj", "domain", "id"))
    kind = view.offset("iommu_domain", "type")
    found: dict[str, str] = {}
    for kobject in view.entries(head, "kobject", "entry", _MOST_GROUPS):
        group = kobject - inside
        domain = view.number(group + at)
        if domain:
            value = view.number(domain + kind, 4)
            found[str(view.number(group + number, 4))] = _TYPES.get(value, f"type {value:#x}")
    return found
