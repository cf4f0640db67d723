"""How full each CPU's ring buffer in a recovered region is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tracekit.frozen import dataclass
from tracekit.ftrace.ring.layout import RegionLayout, parse_layout
from tracekit.recording import Recording
from tracekit.session.regions import read_region
from tracekit.timeline.boot import Boot

__all__ = ["Fill", "region_fill"]

_COMMIT = 0x3FFFFFFF  # the two bits above it are flags


@dataclass(frozen=True, slots=True)
class Fill:
    """One CPU: ``used`` of ``total`` sub-buffers hold anything, ``committed`` of ``capacity`` bytes
    are written.

    ``wrapped``: whether the writer wrapped round and overwrote the oldest; None if not known.
    """

    cpu: int
    used: int
    total: int
    committed: int
    capacity: int
    wrapped: bool | None


_Pages = Mapping[int, npt.NDArray[Any]]


def _layout(recording: Recording, boot: Boot, path: str) -> tuple[RegionLayout, _Pages, bytes]:
    """(layout, CPU -> where its sub-buffers begin, bytes) of the region.

    Decoded before, or read from its file.
    """
    for buffer in recording.buffers:
        if buffer.layout is None or buffer.lost:  # lost: it is one boot's part of a region
            continue
        if any(e.source == path for e in buffer.extents):
            known = {r.cpu: np.frombuffer(r.page_offsets, np.uint64) for r in buffer.records}
            if known.keys() == {cpu.cpu for cpu in buffer.layout.cpus}:
                return buffer.layout, known, buffer.data
    data, unread = read_region(boot.session, path)
    layout = parse_layout(data, f"{boot.where} {path}", boot.header_page, unread)
    return layout, {cpu.cpu: np.array(cpu.pages, np.uint64) for cpu in layout.cpus}, data


def region_fill(recording: Recording, boot: Boot, path: str) -> tuple[Fill, ...]:
    """The fill of the region that ``boot`` wrote and whose bytes are in ``path``, by CPU.

    Raises :class:`~tracekit.errors.ParseError` and :class:`~tracekit.errors.SessionError`.
    """
    layout, pages, data = _layout(recording, boot, path)
    header = boot.header_page
    words = np.frombuffer(data, "<u4", len(data) // 4)
    fills = []
    for cpu in layout.cpus:
        commit_words = (pages[cpu.cpu].astype(np.int64) + header.commit) // 4
        room = max(0, cpu.subbuf_size - header.data)
        commits = words[commit_words[commit_words < len(words)]] & _COMMIT
        commits = np.where(commits > room, 0, commits)  # damaged, or memory that was not read
        fills.append(
            Fill(
                cpu.cpu,
                used=int(np.count_nonzero(commits)),
                total=cpu.nr_subbufs,
                committed=int(commits.sum(dtype=np.int64)),
                capacity=cpu.nr_subbufs * room,
                wrapped=cpu.wrapped,
            )
        )
    return tuple(fills)
