"""A region that this kernel attached again and recorded into, after an earlier one.

``update_last_data()`` (kernel/trace/trace.c) then makes the region's header this kernel's, so the
header does not tell of the events before: the order of the sub-buffers' time stamps does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tracekit.capture.cmdline.parse import parse_cmdline
from tracekit.capture.recover.chain import Chain
from tracekit.capture.recover.regions import SavedRegion
from tracekit.capture.save.boots import NOBODY, Owner
from tracekit.capture.save.clocks import last_count
from tracekit.capture.save.kernel import identity
from tracekit.errors import ParseError
from tracekit.ftrace.ring.layout import parse_layout
from tracekit.ftrace.ring.restarts import restarts
from tracekit.session import SessionWriter

__all__ = ["older_in", "older_subbufs", "with_writers"]

_GOES_ON = "x86-tsc"  # the only trace clock that does not start anew at a boot
_COMMIT = 0x3FFFFFFF


def older_subbufs(region: SavedRegion, data: bytes, before: int | None) -> dict[int, int]:
    """CPU -> its sub-buffers of earlier boots; only CPUs that have some. Never raises.

    ``before`` is a count of the TSC in an earlier boot, for a buffer that is stamped by it.
    """
    try:
        layout = parse_layout(data, "region", unread=region.unread)
    except ParseError:
        return {}
    older: dict[int, int] = {}
    for cpu in layout.cpus:
        words = [int.from_bytes(data[page : page + 16], "little") for page in cpu.pages]
        stamps = [word & (1 << 64) - 1 for word in words if word >> 64 & _COMMIT]
        if not cpu.ordered:
            continue
        if layout.clock == _GOES_ON:
            count = sum(stamp <= before for stamp in stamps) if before else 0
        else:
            count = max(restarts(stamps)[0], default=0)
        if count:
            older[cpu.cpu] = count
    return older


def with_writers(
    writer: SessionWriter,
    chain: Chain,
    region: SavedRegion,
    owner: Owner,
    reader: int,
) -> tuple[SavedRegion, Owner]:
    """The region with all its writers, and the last of them before the boot ``reader`` as owner.

    As they were where only one boot's events are in it.
    """
    kernels: Mapping[int, Mapping[str, Any]] = {**chain.boots, chain.here: chain.kernel}
    if region.boot is not None or reader not in kernels or not _attached(kernels[reader], region):
        return region, owner
    earlier = [i for i in sorted(kernels) if i < reader and _attached(kernels[i], region)]
    if not older_in(writer, earlier, region):
        return region, owner
    identities = tuple(identity(kernels[i]) for i in earlier) or ("",)
    return replace(region, writers=(*identities, identity(kernels[reader]))), Owner(
        earlier[-1] if earlier else NOBODY,
        "the kernel that read it has attached it again and recorded on after this boot's events: "
        "their time stamps step back there",
    )


def older_in(writer: SessionWriter, earlier: Sequence[int], region: SavedRegion) -> dict[int, int]:
    """:func:`older_subbufs` of a region in the session that the boots ``earlier`` recorded into."""
    counts = [last_count(writer.read(f"boots/{i}/clocks.json")) for i in earlier]
    before = max((count for count in counts if count is not None), default=None)
    return older_subbufs(region, writer.read(f"{region.base}.raw") or b"", before)


def _attached(kernel: Mapping[str, Any], region: SavedRegion) -> bool:
    command = parse_cmdline(str(kernel.get("cmdline") or ""))
    return command.instance_of(region.name, region.address) is not None
