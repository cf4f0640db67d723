"""The recorded buffers of a boot: its regions, the kernel's copies of them, and trace pipes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from tracekit.errors import ParseError, SessionError
from tracekit.ftrace.ring.layout import OTHER_MACHINE, RegionLayout, parse_layout
from tracekit.ftrace.ring.page import Records, committed, read_pages
from tracekit.session.identity import identity
from tracekit.session.regions import RegionBytes, read_region, region_address
from tracekit.spans import Span
from tracekit.spill import Spill, release
from tracekit.timeline.backup import Backup, read_backups
from tracekit.timeline.boot import Boot, Buffer, Extent
from tracekit.timeline.region_clock import clock_of
from tracekit.timeline.saved.counters import Counters, parse_stats, read_counters
from tracekit.timeline.shared import (
    CpuShares,
    lost_to_the_next,
    share_out,
    writer_of,
    writers_in,
)

__all__ = ["read_buffers"]

_SUBBUF_SIZES = frozenset(1 << bits for bits in range(12, 21))
# The global buffer's, an instance's, and those of the snapshot that it kept.
_PIPE = re.compile(r"(?:instances/([^/]+)/)?per_cpu/cpu([0-9]{1,4})/(trace_pipe|snapshot)_raw")
_RAW = re.compile(r"boots/([0-9]{1,4})/regions/[^/]+\.raw")


def read_buffers(boot: Boot) -> tuple[Buffer, ...]:
    """Read and decode all buffers that this boot recorded, at each call.

    None of a 32-bit kernel: its formats would be read as those of a 64-bit one.
    """
    if boot.header_page.commit_size == 4:
        boot.note(
            "kernel-32-bit", "header_page",
            f"the commit of its sub-buffers has 4 bytes: a 32-bit kernel; {OTHER_MACHINE}", "error",
        )  # fmt: skip
        return ()
    buffers = [_region(boot, path) for path in _regions(boot)]
    only = boot.instance
    found = [buffer for buffer in buffers if buffer is not None]
    for backup in read_backups(boot):
        found = _with_backup(boot, found, backup)
    for (instance, kind), paths in _pipes(boot).items():
        if only not in (None, _label(instance, kind)):
            continue
        if kind == "snapshot":
            found.append(_pages(boot, _label(instance, kind), instance, paths))
        elif any(b.layout is not None and b.instance == instance for b in found):
            # a dump's, of memory that was recovered as a region, too
            found = _with_backup(boot, found, Backup(instance, instance, {}, paths))
        else:
            name = f"instance {instance}" if instance else "trace_pipe_raw"
            found.append(_pages(boot, name, instance, paths))
    if only is not None:
        found = [b for b in found if only in (b.name, b.instance or "global")]
    return tuple(found)


def _label(instance: str, kind: str) -> str:
    """What a user calls a buffer."""
    return (instance or "global") + (" snapshot" if kind == "snapshot" else "")


def _pipes(boot: Boot) -> dict[tuple[str, str], dict[int, str]]:
    """(instance, ``trace_pipe`` or ``snapshot``) -> CPU -> the file with its pages."""
    base = f"boots/{boot.index}/tracefs/"
    pipes: dict[tuple[str, str], dict[int, str]] = {}
    for path in boot.session.files(base):
        if match := _PIPE.fullmatch(path.removeprefix(base)):
            instance, cpu, kind = match.groups()
            pipes.setdefault((instance or "", kind), {})[int(cpu)] = path
    return pipes


def _regions(boot: Boot) -> list[str]:
    """The regions that this boot wrote, and those of earlier boots that it recorded into."""
    me = identity(boot.kernel)
    own: list[str] = []
    others: dict[str, str] = {}
    for path in boot.session.recorded:
        match = _RAW.fullmatch(path)
        if match is None:
            continue
        if int(match[1]) == boot.index:
            own.append(path)
        elif me and me in writers_in(boot.session, path, me):
            others[path.rsplit("/", 1)[1]] = path  # the copy that a later boot made has more
    names = {path.rsplit("/", 1)[1] for path in own}
    return [*own, *(path for name, path in others.items() if name not in names)]


def _region(boot: Boot, path: str) -> Buffer | None:
    name = path.rsplit("/", maxsplit=1)[-1].removesuffix(".raw")
    where = f"{boot.where} region {name}"
    try:
        region = read_region(boot.session, path)
        layout = parse_layout(region.data, where, boot.header_page, region.unread)
    except (ParseError, SessionError) as error:
        from tracekit.timeline.saved.foreign import whose_region  # much, and rarely needed

        cmdline = str(boot.kernel.get("cmdline") or "")
        if whose := whose_region(boot.session, boot.index, name, cmdline):
            boot.note("region-of-others", f"region {name}", whose, "info")
        elif _never_used(boot, path, name):
            message = "nothing but zeros, and no trace instance of this boot was on it"
            boot.note("region-blank", f"region {name}", message, "info")
        else:
            boot.note("region-unusable", f"region {name}", str(error))
        return None
    if boot.cpus > len(layout.cpus):
        boot.note(
            "cpus-missing", f"region {name}",
            f"{boot.cpus} CPUs were online, the region holds buffers of {len(layout.cpus)}",
        )  # fmt: skip
    writers = writers_in(boot.session, path)
    if len(writers) > 1:
        return _shared(boot, path, name, region, layout, writers)
    return _decoded(boot, path, name, region.data, region.unread, layout)


def _never_used(boot: Boot, path: str, name: str) -> bool:
    """Whether a region is as empty as it has to be: the half that is kept for another kernel."""
    if not boot.kernel.get("known") or boot.instance_on(name, region_address(boot.session, path)):
        return False
    try:
        region = read_region(boot.session, path)
    except SessionError:
        return False
    return not region.unread and not np.frombuffer(region.data, np.uint8).any()


def _decoded(
    boot: Boot, path: str, name: str, data: bytes, unread: Sequence[Span], layout: RegionLayout
) -> Buffer:
    where = f"{boot.where} region {name}"
    used = (committed(data, c.pages, c.subbuf_size, boot.header_page) for c in layout.cpus)
    boot.session.budget.filled(path, sum(used))
    scratch = Spill(boot.session.spill)
    records = tuple(
        read_pages(
            data, cpu.pages, cpu.subbuf_size, cpu.cpu, f"{where} cpu {cpu.cpu}",
            boot.header_page, boot.record_header, unread=unread, in_turn=True, spill=scratch,
        )
        for cpu in layout.cpus
    )  # fmt: skip
    release()
    instance = boot.instance_on(name, region_address(boot.session, path))
    clock = clock_of(boot, layout, data, instance)
    remarks = layout.diagnostics + tuple(d for r in records for d in r.diagnostics)
    extents = tuple(
        Extent(path, c.cpu, c.start, c.subbuf_size, c.nr_subbufs, c.start) for c in layout.cpus
    )
    return Buffer(
        name, instance, clock, data, records, layout, remarks, extents,
        counters=_counters(boot, instance, records) if instance else {}, scratch=scratch,
    )  # fmt: skip


def _counters(boot: Boot, instance: str, records: Iterable[Records]) -> dict[int, Counters]:
    place = f"tracefs/instances/{instance}" if instance else "tracefs"
    texts = ((r, boot.text(f"{place}/per_cpu/cpu{r.cpu}/stats")) for r in records)
    read = {r.cpu: read_counters(text, r) for r, text in texts if text}
    return {cpu: counters for cpu, counters in read.items() if counters}


def _shared(
    boot: Boot,
    path: str,
    name: str,
    region: RegionBytes,
    layout: RegionLayout,
    writers: Sequence[str],
) -> Buffer:
    """The part of a region, which several boots recorded into, that is the given one's."""
    indices = _indices(boot)
    address = region_address(boot.session, path)
    clock = clock_of(boot, layout, region.data, boot.instance_on(name, address))
    known = [writer_of(boot.session, indices.get(w), name, address, clock) for w in writers]
    shares = share_out(region.data, layout, boot.header_page, known, clock, region.unread)
    me = identity(boot.kernel)
    number = writers.index(me) if me in writers else 0
    newest = number == len(writers) - 1
    if newest:
        _remark_on(boot, name, shares)
    cpus = tuple(
        replace(
            cpu,
            pages=share.parts[number],
            # what a later kernel overwrote of an earlier one's record is none of its own
            wrapped=False if newest and any(share.parts[:number]) else cpu.wrapped,
        )
        for cpu, share in zip(layout.cpus, shares, strict=True)
    )
    buffer = _decoded(
        boot, path, name, region.data, region.unread, replace(layout, cpus=cpus)
    )  # fmt: skip
    if newest:
        later = {c.cpu: (0 if c.wrapped is False else None, False) for c in cpus}
        return replace(buffer, lost=later)
    touched = {
        c.cpu for c, s in zip(layout.cpus, shares, strict=True) if any(s.parts[number + 1 :])
    }
    losses = _losses(boot, buffer, layout, None)
    intact = {r.cpu for r in buffer.records if len(r)} - touched
    return replace(buffer, lost={cpu: v for cpu, v in losses.items() if cpu not in intact})


def _losses(
    boot: Boot, buffer: Buffer, layout: RegionLayout | None, backup: Backup | None
) -> dict[int, tuple[int | None, bool]]:
    """What is lost of each CPU, by the counters of the next kernel's copy or the snapshot's."""
    wrapped = {cpu.cpu: cpu.wrapped for cpu in layout.cpus} if layout else {}
    stats = f"tracefs/instances/{buffer.instance}/per_cpu/cpu{{}}/stats"
    return {
        records.cpu: lost_to_the_next(
            records,
            backup.counted.get(records.cpu) if backup else None,
            parse_stats(boot.text(stats.format(records.cpu))),
            wrapped.get(records.cpu),
        )
        for records in buffer.records
    }


def _indices(boot: Boot) -> dict[str, int]:
    """The boots of the session by what identifies them."""
    indices: dict[str, int] = {}
    for index in boot.session.boots:
        try:
            indices[identity(boot.session.kernel(index))] = index
        except SessionError:
            continue
    indices.pop("", None)
    return indices


def _remark_on(boot: Boot, name: str, shares: Sequence[CpuShares]) -> None:
    for cpu, share in enumerate(shares):
        if not share.told:
            boot.note(
                "region-not-split", f"region {name} cpu {cpu}",
                f"several boots recorded into it, and nothing tells where one ends: its "
                f"{len(share.strange)} sub-buffers are not shown",
            )  # fmt: skip
        elif share.strange:
            boot.note(
                "region-of-others", f"region {name} cpu {cpu}",
                f"its {len(share.strange)} oldest sub-buffers are of a boot that is not in the "
                "session: they are not shown",
            )  # fmt: skip


def _with_backup(boot: Boot, buffers: list[Buffer], backup: Backup) -> list[Buffer]:
    """The buffers, with what only the kernel's copy of one of them has.

    Of every CPU that of the two is taken which has more events; if they have as many, the region's.
    """
    copy = _pages(boot, backup.name, backup.of, backup.pages) if backup.pages else None
    result: list[Buffer] = []
    for buffer in buffers:
        if buffer.layout is None or buffer.instance != backup.of:
            result.append(buffer)
            continue
        more: set[int] = set()
        if copy is not None:
            counts = {r.cpu: len(r) for r in buffer.records}
            more = {r.cpu for r in copy.records if len(r) > counts.get(r.cpu, 0)}
            taken = replace(copy, records=tuple(r for r in copy.records if r.cpu in more))
            lost = _losses(boot, taken, buffer.layout, backup)
            result.append(replace(taken, lost=lost, clock=buffer.clock))
            copy = None
        rest = replace(buffer, records=tuple(r for r in buffer.records if r.cpu not in more))
        if buffer.lost:
            rest = replace(rest, lost=_losses(boot, rest, buffer.layout, backup))
        result.append(rest)
    if copy is not None:  # the region itself is lost
        result.append(replace(copy, lost=_losses(boot, copy, None, backup)))
    return result


def _pages(boot: Boot, name: str, instance: str, paths: Mapping[int, str]) -> Buffer:
    """A buffer as pages that user space read from ``trace_pipe_raw``."""
    size = boot.subbuf_size(instance)
    if size not in _SUBBUF_SIZES:
        boot.note("header-page-invalid", "", f"sub-buffers of {size} bytes; 4096 is assumed")
        size = 4096
    parts: list[bytes] = []
    extents: list[Extent] = []
    start = 0
    for cpu, path in sorted(paths.items()):
        try:
            raw = boot.session.read(path)
        except SessionError as error:
            boot.note("pipe-unreadable", f"cpu {cpu}", str(error))
            continue
        whole = len(raw) // size * size
        if whole != len(raw):
            boot.note(
                "pipe-truncated", f"cpu {cpu}", f"{len(raw)} bytes are not whole pages of {size}"
            )
        parts.append(raw[:whole])
        extents.append(Extent(path, cpu, start, size, whole // size, 0))
        start += whole
    data = boot.session.spill.collected(parts, start)
    used = committed(data, range(0, len(data), size), size, boot.header_page)
    boot.session.budget.filled(f"{boot.where} {name}", used)
    scratch = Spill(boot.session.spill)
    records = tuple(
        read_pages(
            data, range(e.start, e.start + e.count * size, size), size, e.cpu,
            f"{boot.where} {name} cpu {e.cpu}", boot.header_page, boot.record_header,
            spill=scratch,
        )
        for e in extents
    )  # fmt: skip
    remarks = tuple(d for r in records for d in r.diagnostics)
    clock = boot.trace_clock(instance)
    return Buffer(
        name, instance, clock, data, records, None, remarks, tuple(extents),
        counters=_counters(boot, instance, records), scratch=scratch,
    )  # fmt: skip
