"""What the kernel says of itself: banner, command line, boot id, memory map."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

from tracekit.errors import SourceError
from tracekit.frozen import dataclass
from tracekit.kmemory.kernel import Kernel, Struct

__all__ = ["About", "about", "iomem"]

_MAX_RESOURCES = 1 << 16
_DEPTH = 5  # MAX_IORES_LEVEL, kernel/resource.c
_LINE = 1 << 16


@dataclass(frozen=True, slots=True)
class About:
    """None is what could not be read."""

    release: str
    version: str | None
    build_id: str | None
    boot_id: str | None
    cmdline: str | None
    cpus: int | None
    page_size: int
    machine: str
    text_address: int | None


def _text(kernel: Kernel, symbol: str, *, pointer: bool) -> str | None:
    try:
        address = kernel.pointer(symbol) if pointer else kernel.symbol(symbol)
        return kernel.memory.text(address, _LINE)
    except SourceError as error:
        kernel.notes.missing("texts", symbol, error)
        return None


def _boot_id(kernel: Kernel) -> str | None:
    """``sysctl_bootid``: zeros until somebody asked for it."""
    try:
        data = kernel.memory.read(kernel.symbol("sysctl_bootid"), 16)
    except SourceError as error:
        kernel.notes.missing("texts", "sysctl_bootid", error)
        return None
    return str(uuid.UUID(bytes=data)) if any(data) else None


def _cpus(kernel: Kernel) -> int | None:
    """How many CPUs were there: online, or stopped by the panic and present."""
    counts = []
    for mask in ("__cpu_online_mask", "__cpu_present_mask"):
        try:
            counts.append(len(kernel.cpus_in(mask)))
        except SourceError as error:
            kernel.notes.missing("variables", mask, error)
    if len(counts) == 2 and counts[0] <= 1:
        return counts[1] or None  # stop_this_cpu() takes a CPU out of the mask
    return counts[0] or None if counts else None


def about(kernel: Kernel) -> About:
    """The kernel; what of it cannot be read is noted."""
    info = kernel.info
    banner = _text(kernel, "linux_banner", pointer=False)
    return About(
        info.release,
        banner.strip() if banner else None,
        info.values.get("BUILD-ID"),
        _boot_id(kernel),
        _text(kernel, "saved_command_line", pointer=True),
        _cpus(kernel),
        info.page_size,
        "x86_64" if "phys_base" in info.numbers else "aarch64",
        kernel.symbols.find("_text"),
    )


def _resources(root: Struct) -> Iterator[tuple[int, Struct]]:
    """(depth, resource) of all below the root, a child after its parent."""
    stack = [(0, root.follow("child"))]
    seen: set[int] = set()
    while stack and len(seen) < _MAX_RESOURCES:
        depth, resource = stack.pop()
        while resource is not None and resource.address not in seen:
            seen.add(resource.address)
            yield depth, resource
            if (child := resource.follow("child")) is not None:
                stack.append((depth, resource.follow("sibling")))
                depth, resource = depth + 1, child
            else:
                resource = resource.follow("sibling")


def iomem(kernel: Kernel) -> str:
    """The text of ``/proc/iomem``, up to what cannot be read."""
    root = kernel.at("iomem_resource", "resource")
    lines = []
    try:
        width = 4 if root["end"] < 0x10000 else 8
        for depth, resource in _resources(root):
            start, end = resource["start"], resource["end"]
            name = resource.text("name") or "<BAD>"
            indent = "  " * min(depth, _DEPTH - 1)
            lines.append(f"{indent}{start:0{width}x}-{end:0{width}x} : {name}\n")
    except SourceError as error:
        kernel.notes.missing("the memory map", f"after {len(lines)} lines", error)
    return "".join(lines)
