"""What KHO's scratch areas cost, where the kernel counts them, and what can be done about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from tracekit.capture.kho.evidence import Evidence
from tracekit.errors import ParseError
from tracekit.frozen import dataclass
from tracekit.kho.item import Item, item, range_text, size_text, unreadable
from tracekit.kho.picture import parse_iomem
from tracekit.kho.scratch import Scratch, parse_meminfo, parse_scratch, scratch_parameter

__all__ = ["LARGE", "Cost", "cost_item", "cost_of", "cost_sentence"]

LARGE = 1 / 8  # of memory: from there on it is worth a word

_WHAT = (
    "The next kernel starts in these areas, before it knows which other memory it must leave "
    "alone. Until then they hold pages that can be moved: of programs and files. The kernel's own "
    "memory, huge pages and memory that devices have pinned (RDMA, VFIO) cannot be there."
)
_ADVICE = (
    ("kho_scratch=LOW,GLOBAL,PERNODE",
     "sets the sizes. Too small, and the next kernel runs out of memory while it boots, or finds "
     "no room for itself and its initrd; too large, and KHO is given up at boot"),
    ("kho_scratch=N%", "scales them: 200% of what the kernel reserves at boot is the default"),
    ("kho=off", "gives the memory back. Then nothing is handed on: no reserve_mem region, no LUO "
     "session, and tracekit needs another carrier (docs/carriers.md)"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cost:
    """The areas; ``memory``: bytes of RAM, None where not known; ``memory_from``: known by what.

    ``cma_total`` and ``cma_free`` are the kernel's own counters; ``in_use`` is how much of the
    areas is in use by pages that can be moved, None where the counters do not tell.
    """

    areas: tuple[Scratch, ...]
    memory: int | None
    memory_from: str
    cma_total: int | None
    cma_free: int | None

    @property
    def total(self) -> int:
        """Bytes of all areas."""
        return sum(area.size for area in self.areas)

    @property
    def share(self) -> float | None:
        """Of memory."""
        return self.total / self.memory if self.memory else None

    @property
    def in_use(self) -> int | None:
        """Bytes; what CMA areas of others have free cannot be told apart, so none of those."""
        if self.cma_total != 0 or self.cma_free is None or self.cma_free > self.total:
            return None
        return self.total - self.cma_free

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "areas": [asdict(area) for area in self.areas],
            "total": self.total,
            "memory": self.memory,
            "memory_from": self.memory_from,
            "share": self.share,
            "cma_total": self.cma_total,
            "cma_free": self.cma_free,
            "in_use": self.in_use,
        }


def cost_of(evidence: Evidence) -> Cost | None:
    """The cost; None where the areas are not known."""
    addresses = evidence.files.get("out/scratch_phys")
    sizes = evidence.files.get("out/scratch_len")
    if addresses is None or sizes is None:
        return None
    try:
        areas = parse_scratch(addresses, sizes)
    except ParseError:
        return None
    meminfo = parse_meminfo(evidence.meminfo)
    ram = sum(span.end - span.start for span in parse_iomem(evidence.iomem) if span.sign == "·")
    memory, source = (ram, "/proc/iomem") if ram else (meminfo.total, "/proc/meminfo")
    return Cost(tuple(areas), memory, source, meminfo.cma_total, meminfo.cma_free)


def cost_sentence(cost: Cost) -> str:
    """``608 MiB in 3 scratch areas, 29.7% of 2 GiB``."""
    share = f", {cost.share:.1%} of {size_text(cost.memory or 0)}" if cost.share is not None else ""
    return f"{size_text(min(cost.total, 1 << 64))} in {len(cost.areas)} scratch areas{share}"


def _counted(cost: Cost) -> Iterator[Item]:
    total, free = cost.cma_total, cost.cma_free
    if total is None or free is None:
        return
    note = (
        "The areas are in MemTotal, and what is free of them in MemFree and CmaFree; they are not "
        "in CmaTotal, which counts areas that drivers have asked for alone."
    )
    yield item("counted", f"CmaTotal {size_text(total)}, CmaFree {size_text(free)}", note)
    if cost.in_use is not None:
        yield item("in use now", f"{size_text(cost.in_use)}, by pages that can be moved")


def cost_item(evidence: Evidence, cost: Cost | None) -> Item:
    """The section on the cost."""
    if cost is None:
        if "out/scratch_phys" in evidence.files:
            return unreadable("Cost", "scratch_phys and scratch_len make no sense")
        why = evidence.unseen.get("kho") or "debugfs does not show the scratch areas"
        return item("Cost", "not at hand", why)
    value, meaning = scratch_parameter(evidence.cmdline)
    asked = f"kho_scratch={value}: {meaning}" if value else "no kho_scratch=: 200% by default"
    areas = [item(area.kind, range_text(area.address, area.size)) for area in cost.areas]
    if "in/fdt" in evidence.files:
        asked += "; taken over from the kernel before as they were"
    children = [
        item("areas", len(areas), _WHAT, areas),
        item("asked for", asked),
        *_counted(cost),
        item("advice", children=[item(what, does) for what, does in _ADVICE]),
    ]
    return item("Cost", cost_sentence(cost), _WHAT, children)
