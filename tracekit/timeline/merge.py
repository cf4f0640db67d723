"""Merges all recorded events of a session into one set of rows, boot by boot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import numpy as np

from tracekit.frozen import dataclass
from tracekit.timeline.boot import Boot, Buffer
from tracekit.timeline.bpf_records import with_probes
from tracekit.timeline.read_buffers import read_buffers
from tracekit.timeline.rows import EventKind, Kinds, Rows, of_cpu
from tracekit.timeline.saved.bpf_format import ProbeRecords

__all__ = ["BootPart", "Merged", "merge"]


def _sorted(parts: list[Rows]) -> Rows:
    """The parts, sorted by raw stamp, as :func:`~tracekit.timeline.rows.in_order` does.

    Empties ``parts`` and frees their columns one by one, so that a large recording is not held
    twice.
    """
    columns = {f.name: [getattr(p, f.name) for p in parts] for f in fields(Rows)}
    parts.clear()
    stamps = np.concatenate(columns.pop("ts_raw"))
    order = np.argsort(stamps, kind="stable")
    stamps = stamps[order]
    return Rows(stamps, *(np.concatenate(columns.pop(name))[order] for name in list(columns)))


@dataclass(frozen=True, slots=True)
class BootPart:
    """One boot's recorded buffers; ``first`` is the number of the first in the session."""

    boot: Boot
    first: int
    buffers: tuple[Buffer, ...]
    probes: ProbeRecords


@dataclass(frozen=True, slots=True)
class Merged:
    """The events of all boots, boot by boot, each boot in the order of its raw stamps."""

    rows: Rows
    kinds: Sequence[EventKind]
    parts: tuple[BootPart, ...]

    @property
    def buffers(self) -> list[Buffer]:
        """All buffers; ``rows.buffer`` is the index."""
        return [buffer for part in self.parts for buffer in part.buffers]


def _read(boot: Boot, first: int, kinds: Kinds) -> tuple[list[Rows], list[Buffer]]:
    """The rows of each CPU of each buffer of a boot, and the buffers without their columns."""
    rows, slim = [Rows.none()], []
    for number, buffer in enumerate(read_buffers(boot), first):
        rows += [of_cpu(records, boot, number, kinds) for records in buffer.records]
        slim.append(buffer.slim())
    return rows, slim


def merge(boots: Sequence[Boot], *, probes: bool = True) -> Merged:
    """Read and decode everything that the boots recorded.

    Equal stamps keep the order of their CPUs, as the kernel's own ``trace`` file does
    (``__find_next_entry()``). With ``probes`` the BPF probes' records become events of their own;
    without, the text they printed stays as it is.
    """
    kinds = Kinds()
    parts, of_boots, first = list[BootPart](), [Rows.none()], 0
    for boot in boots:
        of_boot, buffers = _read(boot, first, kinds)
        rows, made, records = _sorted(of_boot), tuple[Buffer, ...](), ProbeRecords()
        if probes:
            rows, made, records = with_probes(boot, buffers, rows, kinds, first)
        of_boots.append(rows)
        parts.append(BootPart(boot, first, (*buffers, *made), records))
        first += len(parts[-1].buffers)
    whole = of_boots[1] if len(of_boots) == 2 else Rows.joined(of_boots)
    return Merged(whole, kinds.found, tuple(parts))
