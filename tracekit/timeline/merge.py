"""All recorded events of a session in one set of rows, boot by boot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import numpy as np

from tracekit.timeline.boot import Boot, Buffer
from tracekit.timeline.bpf_records import add_probes
from tracekit.timeline.rows import EventKind, Kinds, Rows, of_cpu

__all__ = ["collect"]


def _sorted(parts: list[Rows]) -> Rows:
    """The parts, sorted by raw stamp, as :func:`~tracekit.timeline.rows.in_order` does.

    Their columns are freed one by one, and ``parts`` is empty afterwards: a large recording is
    not held twice.
    """
    columns = {f.name: [getattr(p, f.name) for p in parts] for f in fields(Rows)}
    parts.clear()
    stamps = np.concatenate(columns.pop("ts_raw"))
    order = np.argsort(stamps, kind="stable")
    stamps = stamps[order]
    return Rows(stamps, *(np.concatenate(columns.pop(name))[order] for name in list(columns)))


def collect(
    boots: Sequence[Boot], *, probes: bool = True
) -> tuple[Rows, list[EventKind], list[Buffer]]:
    """The events of all boots, boot by boot, each boot in the order of its raw stamps.

    Equal stamps keep the order of their CPUs, as the kernel's own ``trace`` file does
    (``__find_next_entry()``). With ``probes`` the BPF probes' records become events of their own;
    without, the text they printed stays as it is.
    """
    kinds = Kinds()
    buffers: list[Buffer] = []
    parts = [Rows.none()]
    for boot in boots:
        of_boot = [Rows.none()]
        for number, buffer in enumerate(boot.buffers, len(buffers)):
            of_boot += [of_cpu(records, boot, number, kinds) for records in buffer.records]
        boot.slim()
        rows = _sorted(of_boot)
        parts.append(add_probes(boot, rows, kinds, len(buffers)) if probes else rows)
        buffers += boot.buffers
    return (parts[1] if len(parts) == 2 else Rows.joined(parts)), kinds.found, buffers
