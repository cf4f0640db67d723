"""Lost events, per CPU: recovered + lost = written, and what is not known of them.

Three things lose events of a ring buffer. The writer overwrites the oldest sub-buffer of a full
ring: the meta data show whether that ever happened, and ``per_cpu/cpuN/stats``, saved before the
jump, count what was written by then. The kernel drops events and flags the next page
(``RB_MISSED_EVENTS``). And a page may be too damaged to read. The BPF probes number their records,
one sequence per CPU: lost ones are missing from it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tracekit.errors import Diagnostic
from tracekit.ftrace.ring.page import Records
from tracekit.timeline.boot import Buffer
from tracekit.timeline.bpf_format import PROBE_FILE
from tracekit.timeline.merge import BootPart
from tracekit.timeline.stats import parse_stats

__all__ = ["CpuAccount", "account"]


@dataclass(frozen=True, slots=True)
class CpuAccount:
    """One CPU of one buffer. ``lost`` is None if it is not known.

    ``at_least`` says that ``lost`` is a lower bound.
    """

    cpu: int
    buffer: str
    events: int
    lost: int | None
    at_least: bool
    unreadable: int


def _overwritten(
    records: Records, wrapped: bool | None, stats: dict[str, int]
) -> tuple[int | None, bool]:
    """(events overwritten, whether that is a lower bound); None if it is not known.

    Counters taken at time T say how many events had been written by T. Of those, the ones no
    longer there were overwritten. Overwriting takes the oldest first, so as long as one event
    from before T is left, none written after T is gone and the count is exact.
    """
    if wrapped is False:
        return 0, False
    taken = stats.get("now ts")
    if taken is None or "entries" not in stats:
        return None, False
    stamps = np.frombuffer(records.ts, np.uint64)
    before = int(np.count_nonzero(stamps <= taken))
    gone = max(0, stats["entries"] + stats.get("overrun", 0) - before)
    return gone, before == 0


def _of_cpu(buffer: Buffer, records: Records, stats: dict[str, int]) -> CpuAccount:
    gone: int | None
    if records.cpu in buffer.lost:
        gone, at_least = buffer.lost[records.cpu]
        at_least = at_least or records.missed_unknown > 0
    elif buffer.layout is None:  # pages handed out by the kernel: it flags what it lost
        gone, at_least = 0, records.missed_unknown > 0
        if stats.get("overrun", 0) > records.missed:
            gone, at_least = stats["overrun"] - records.missed, False
    else:
        wrapped = next(c.wrapped for c in buffer.layout.cpus if c.cpu == records.cpu)
        gone, at_least = _overwritten(records, wrapped, stats)
        at_least = at_least or records.missed_unknown > 0
    dropped = stats.get("commit overrun", 0) + stats.get("dropped events", 0)
    lost = None if gone is None else gone + records.missed + dropped
    return CpuAccount(records.cpu, buffer.name, len(records), lost, at_least, records.unreadable)


def account(part: BootPart) -> tuple[list[CpuAccount], list[Diagnostic]]:
    """The account of each CPU of each buffer of a boot, and remarks on what is lost."""
    accounts: list[CpuAccount] = []
    remarks: list[Diagnostic] = []
    boot = part.boot
    for buffer in part.buffers:
        instance = f"instances/{buffer.instance}/" if buffer.instance else ""
        for records in buffer.records:
            stats = parse_stats(boot.text(f"tracefs/{instance}per_cpu/cpu{records.cpu}/stats"))
            one = _of_cpu(buffer, records, stats)
            accounts.append(one)
            where = f"{boot.where} {buffer.name} cpu {one.cpu}"
            if one.lost is None:
                message = "the ring may have wrapped, and no counters were saved to tell how much"
                remarks.append(Diagnostic("losses-unknown", "warning", where, message))
            elif one.at_least:
                message = f"at least {one.lost} events are lost; how many exactly is not known"
                remarks.append(Diagnostic("losses-at-least", "warning", where, message))
            elif one.lost:
                message = f"{one.lost} events are lost"
                remarks.append(Diagnostic("events-lost", "warning", where, message))
    for cpu, (events, missing) in sorted(part.probes.counts.items()):
        accounts.append(CpuAccount(cpu, PROBE_FILE, events, missing, False, 0))
        if missing:
            where = f"{boot.where} BPF probes cpu {cpu}"
            message = f"{missing} records are lost: their numbers are missing from the sequence"
            remarks.append(Diagnostic("bpf-records-lost", "warning", where, message))
    return accounts, remarks
