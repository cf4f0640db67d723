"""Lost events, per CPU: recovered + lost = written, and what is not known of them.

Three things lose events of a ring buffer. The writer overwrites the oldest sub-buffer of a full
ring: the meta data show whether that ever happened. The kernel drops events and flags the next
page (``RB_MISSED_EVENTS``). And a page may be too damaged to read, or hold what an intact ring
cannot (:mod:`tracekit.ftrace.ring.integrity`). The kernel's own counters, saved before the jump,
count what was written by then, and are always asked. The BPF probes number their records, one
sequence per CPU: lost ones are missing from it.
"""

from __future__ import annotations

from dataclasses import replace

from tracekit.errors import Diagnostic
from tracekit.frozen import dataclass
from tracekit.ftrace.ring.integrity import CUT
from tracekit.ftrace.ring.layout import CpuBuffer
from tracekit.ftrace.ring.page import PageRow, Records
from tracekit.timeline.boot import Buffer
from tracekit.timeline.merge import BootPart
from tracekit.timeline.saved.bpf_format import PROBE_FILE
from tracekit.timeline.saved.counters import Counters

__all__ = ["CpuAccount", "account"]

_SHORT_RECORD = 4  # the page's other records are there


@dataclass(frozen=True, slots=True)
class CpuAccount:
    """One CPU of one buffer. ``lost`` is None if it is not known.

    ``at_least`` says that ``lost`` is a lower bound, never of 0. ``counted`` says that the kernel
    counted the events, and that each one it counted is among ``events`` or ``lost``.
    ``unreadable`` counts sub-buffers that could not be read in full, and records too short to read.
    """

    cpu: int
    buffer: str
    events: int
    lost: int | None
    at_least: bool
    unreadable: int
    counted: bool = False


def _hurt(page: PageRow) -> bool:
    return page.missed != 0 or page.status not in (0, _SHORT_RECORD)


def _seen_to_be_lost(pages: list[PageRow]) -> int:
    """The fewest events that the pages themselves say are gone.

    One where the kernel did not store how many it lost; one for each page that ended too early,
    where something stood that was not an event. A cut page may have ended in mere padding.
    """
    flagged = sum(page.missed if page.missed >= 0 else 1 for page in pages)
    return flagged + sum(page.status not in (0, _SHORT_RECORD, CUT) for page in pages)


def _hurt_before(pages: list[PageRow], taken: int) -> bool:
    """Whether everything that is hurt lies before an event that came by ``taken``."""
    last = max((i for i, page in enumerate(pages) if _hurt(page)), default=-1)
    return last < 0 or any(page.events and page.first_ts <= taken for page in pages[last + 1 :])


def _of_ring(ring: CpuBuffer, records: Records, counters: Counters | None) -> CpuAccount:
    """Of a preserved ring.

    As overwriting takes the oldest first, none written after the counters were read is gone while
    one from before is left, and the count is exact.
    """
    pages = list(records.pages()) if records.diagnostics else []
    seen = _seen_to_be_lost(pages)
    lost: int | None
    if counters is None:
        lost, at_least = seen, bool(pages) and any(map(_hurt, pages))
        if ring.wrapped:
            lost, at_least = seen + 1, True
        elif ring.wrapped is None and not seen:
            lost = None
        counted = not records.page_offsets
    else:
        gone = max(0, counters.entries + counters.overrun - counters.found)
        overwritten = ring.wrapped is not False and counters.entries + counters.overrun > 0
        exact = _hurt_before(pages, counters.taken) and (ring.ordered or not gone)
        exact = exact and not (overwritten and not counters.found)
        lost, at_least = max(gone, seen) + counters.dropped, not exact
        counted = exact
    at_least = at_least and bool(lost)
    return CpuAccount(records.cpu, "", len(records), lost, at_least, records.unreadable, counted)


def _of_pages(records: Records, counters: Counters | None) -> CpuAccount:
    """Of pages handed out by the kernel, which flags what it lost.

    What it counts as read has to be among them. What it counts as unread may have come after the
    last page that was read: reading takes the oldest first.
    """
    seen = _seen_to_be_lost(list(records.pages()) if records.diagnostics else [])
    lost, at_least, counted = seen, records.missed_unknown > 0 or records.unreadable > 0, False
    if counters is not None:
        if counters.overrun > seen:
            lost, at_least = counters.overrun, records.unreadable > 0
        lost += counters.dropped
        all_read = counters.read <= counters.found <= counters.read + counters.entries
        counted = not at_least and all_read
    return CpuAccount(
        records.cpu, "", len(records), lost, at_least and lost > 0, records.unreadable, counted
    )


def _of_shared(records: Records, told: tuple[int | None, bool]) -> CpuAccount:
    """Of a part of a ring that another boot has recorded on in; ``told``: what is lost of it."""
    gone, at_least = told
    seen = _seen_to_be_lost(list(records.pages()) if records.diagnostics else [])
    lost = None if gone is None and not seen else max(gone or 0, seen)
    at_least = (at_least or records.missed_unknown > 0) and bool(lost)
    return CpuAccount(records.cpu, "", len(records), lost, at_least, records.unreadable)


def _of_cpu(buffer: Buffer, records: Records) -> CpuAccount:
    if records.cpu in buffer.lost:
        return _of_shared(records, buffer.lost[records.cpu])
    counters = buffer.counters.get(records.cpu)
    if buffer.layout is None:
        return _of_pages(records, counters)
    ring = next(c for c in buffer.layout.cpus if c.cpu == records.cpu)
    return _of_ring(ring, records, counters)


def _remark(one: CpuAccount, where: str) -> Diagnostic | None:
    if one.lost is None:
        message = "the ring may have wrapped, and no counters were saved to tell how much"
        return Diagnostic("losses-unknown", "warning", where, message)
    if one.at_least:
        message = f"at least {one.lost} events are lost; how many exactly is not known"
        return Diagnostic("losses-at-least", "warning", where, message)
    if one.lost:
        return Diagnostic("events-lost", "warning", where, f"{one.lost} events are lost")
    return None


def account(part: BootPart) -> tuple[list[CpuAccount], list[Diagnostic]]:
    """The account of each CPU of each buffer of a boot, and remarks on what is lost."""
    accounts: list[CpuAccount] = []
    remarks: list[Diagnostic] = []
    for buffer in part.buffers:
        for records in buffer.records:
            one = replace(_of_cpu(buffer, records), buffer=buffer.name)
            accounts.append(one)
            note = _remark(one, f"{part.boot.where} {buffer.name} cpu {one.cpu}")
            remarks += [note] if note else []
    for cpu, (events, missing) in sorted(part.probes.counts.items()):
        accounts.append(CpuAccount(cpu, PROBE_FILE, events, missing, False, 0, True))
        if missing:
            where = f"{part.boot.where} BPF probes cpu {cpu}"
            message = f"{missing} records are lost: their numbers are missing from the sequence"
            remarks.append(Diagnostic("bpf-records-lost", "warning", where, message))
    return accounts, remarks
