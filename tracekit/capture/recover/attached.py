"""A region that this kernel attached again and recorded into, after an earlier one.

``update_last_data()`` (kernel/trace/trace.c) then makes the region's header this kernel's, so the
header does not tell of the events before: the order of the sub-buffers' time stamps does.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tracekit.capture.recover.chain import Chain
from tracekit.capture.recover.regions import SavedRegion
from tracekit.capture.save.boots import NOBODY, Owner
from tracekit.capture.save.clocks import last_count
from tracekit.carriers.ring_header import header_address
from tracekit.errors import ParseError
from tracekit.ftrace.ring.layout import parse_layout
from tracekit.ftrace.ring.restarts import one_is_off, restarts
from tracekit.parameters import parse_cmdline
from tracekit.session import SessionWriter
from tracekit.session.identity import identity
from tracekit.spans import overlaps

__all__ = ["older_in", "older_subbufs", "with_writers"]

_GOES_ON = "x86-tsc"  # the only trace clock that a kexec does not set back
_COMMIT = 0x3FFFFFFF
_HEADER = 16  # bytes of a sub-buffer before its events


def older_subbufs(
    region: SavedRegion, data: bytes, before: int | None, *, lone: bool = False
) -> dict[int, int]:
    """CPU -> its sub-buffers of earlier boots; only CPUs that have some. Never raises.

    ``before`` is a count of the TSC in an earlier boot, for a buffer that is stamped by it. Where
    no earlier boot is known to have recorded into it (``lone``), one sub-buffer of another time is
    more likely damage.
    """
    try:
        layout = parse_layout(data, "region", unread=region.unread)
    except ParseError:
        return {}
    stamps = {
        cpu.cpu: _stamps(data, [p for p in cpu.pages if not overlaps(region.unread, p, _HEADER)])
        for cpu in layout.cpus
        if cpu.ordered
    }
    places = {cpu: restarts(of_cpu, layout.clock)[0] for cpu, of_cpu in stamps.items()}
    older = {cpu: max(of_cpu, default=0) for cpu, of_cpu in places.items()}
    if lone:
        older.update(dict.fromkeys((c for c, of_cpu in stamps.items() if one_is_off(of_cpu)), 0))
    newest = max((stamp for of_cpu in stamps.values() for stamp in of_cpu), default=0)
    # A TSC that is behind after all has been reset by firmware: then the stamps step back, too.
    if layout.clock == _GOES_ON and before is not None and newest > before:
        for cpu, of_cpu in stamps.items():
            older[cpu] = older[cpu] or sum(stamp <= before for stamp in of_cpu)
    return {cpu: count for cpu, count in older.items() if count}


def _stamps(data: bytes, pages: Sequence[int]) -> list[int]:
    """The time stamps of the sub-buffers that hold events."""
    headers = [struct.unpack_from("<QI", data, page) for page in pages]
    return [stamp for stamp, commit in headers if commit & _COMMIT]


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
    written = header_address(bytes.fromhex(region.header))
    own = kernels[reader].get("text_address")
    if written is not None and written[0] == "_text" and own and written[1] != own:
        return region, owner  # it has recorded nothing, else the header would be its own
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
    data = writer.read(f"{region.base}.raw") or b""
    return older_subbufs(region, data, before, lone=not earlier)


def _attached(kernel: Mapping[str, Any], region: SavedRegion) -> bool:
    command = parse_cmdline(str(kernel.get("cmdline") or ""))
    return command.instance_of(region.name, region.address) is not None
