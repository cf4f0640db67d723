"""Large recordings, made of real events: of one machine, for as long as it takes.

The softirq events of a capture follow one another as they did, over and over, on every CPU; their
records are laid into full sub-buffers of any size. A region is followed in time by the next one.
"""

from __future__ import annotations

import re
import shutil
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zstandard

import tracekit
from tracekit.recording import Recording
from tracekit.session import Session, SessionWriter
from tracekit.timeline.filter import Filter

__all__ = ["Shape", "machine", "symbols"]

_Array = npt.NDArray[Any]
_SYNTHETIC = 30_000  # ids of events from here on are of no kernel
_BASE = 0xFFFF_8880_0000_0000  # a direct-map address, as reserve_mem regions have
_HEADER, _SCRATCH, _META = 24, 24 + 128 * 64, 32  # bytes; see tests/support/ring/region_writer.py
_EVENTS = ("irq:softirq_*",)
_LENGTH = 12  # bytes of their payload
_DELTA = (1 << 27) - 1
_SYMBOLS = 0xFFFF_FFFF_B000_0000  # where those that are made up begin
_SEED = 17
_STEP = 1 << 20  # records made at a time
_KALLSYMS = "boots/0/kallsyms"


@dataclass(frozen=True)
class Shape:
    """A region: how many CPUs it is of, bytes of a sub-buffer, sub-buffers of a CPU."""

    cpus: int
    subbuf: int
    subbufs: int

    @property
    def fitting(self) -> int:
        """Events of a sub-buffer."""
        return (self.subbuf - 16) // (4 + _LENGTH)

    @property
    def events(self) -> int:
        """Of the region."""
        return self.cpus * self.subbufs * self.fitting


class _Stream:
    """The records of one CPU: real payloads with the time to the one before."""

    def __init__(self, payloads: _Array, deltas: _Array, cpu: int, start: int) -> None:
        self._payloads, self._deltas = payloads, deltas
        self._next = cpu * 7919 % len(payloads)
        self.time = start

    def pages(self, shape: Shape) -> Iterator[bytes]:
        """The sub-buffers of a region, some at a time."""
        left = shape.subbufs
        while left:
            pages = min(left, max(1, _STEP // shape.fitting))
            left -= pages
            yield self._some(pages, shape)

    def _some(self, pages: int, shape: Shape) -> bytes:
        count = pages * shape.fitting
        at = (self._next + np.arange(count)) % len(self._payloads)
        self._next = int(at[-1] + 1)
        deltas = self._deltas[at].reshape(pages, shape.fitting)
        ends = np.cumsum(deltas.sum(axis=1)) + self.time
        first = ends - deltas[:, 1:].sum(axis=1)
        self.time = int(ends[-1])
        heads = deltas.astype(np.uint32) << 5 | _LENGTH // 4
        heads[:, 0] = _LENGTH // 4  # the first event has the sub-buffer's stamp
        records = np.empty((pages, shape.fitting, 4 + _LENGTH), np.uint8)
        records[:, :, :4] = heads[:, :, None].view(np.uint8)
        records[:, :, 4:] = self._payloads[at].reshape(pages, shape.fitting, _LENGTH)
        made = np.zeros((pages, shape.subbuf), np.uint8)
        made[:, :8] = first.astype(np.uint64)[:, None].view(np.uint8)
        used = shape.fitting * (4 + _LENGTH)
        made[:, 8:16] = np.array([used], np.uint64).view(np.uint8)
        made[:, 16 : 16 + used] = records.reshape(pages, used)
        return made.tobytes()


def _region(shape: Shape, streams: list[_Stream], clock: bytes) -> Iterator[bytes]:
    """A region's bytes: the header, then CPU after CPU, as alloc_buffer() lays them out."""
    places, at = [], _HEADER + _SCRATCH
    for _ in streams:
        start = -(-(at + _META + 4 * shape.subbufs) // shape.subbuf) * shape.subbuf
        places.append((at, start))
        at = start + shape.subbufs * shape.subbuf
    header = struct.pack("<IIQQ", 0x0BADFEED, _HEADER << 16 | _META, at, _HEADER + _SCRATCH)
    yield (header + clock).ljust(_HEADER + _SCRATCH, b"\0")
    done = _HEADER + _SCRATCH
    for stream, (meta, start) in zip(streams, places, strict=True):
        first = _BASE + start
        last = first + (shape.subbufs - 1) * shape.subbuf
        about = struct.pack("<3Q2I", first, first + shape.subbuf, last, shape.subbuf, shape.subbufs)
        about += np.arange(shape.subbufs, dtype=np.int32).tobytes()
        yield bytes(meta - done) + about.ljust(start - meta, b"\0")
        yield from stream.pages(shape)
        done = start + shape.subbufs * shape.subbuf


def _formats(recording: Recording, where: Path, kinds: int) -> None:
    """Write formats of events that differ from a real one by name and id."""
    (boot,) = recording.boots
    text = next(t.decode() for _, t in boot.format_texts() if b"name: softirq_entry\n" in t)
    for number in range(kinds):
        folder = where / "boots" / "0" / "tracefs" / "events" / "synthetic" / f"event_{number:04}"
        folder.mkdir(parents=True)
        named = re.sub(r"^name: .*", f"name: event_{number:04}", text, count=1, flags=re.M)
        with_id = re.sub(r"^ID: .*", f"ID: {_SYNTHETIC + number}", named, count=1, flags=re.M)
        (folder / "format").write_text(with_id)


def symbols(where: Path, count: int) -> None:
    """Let the kernel of a session have as many symbols."""
    text = Session.open(where).read(_KALLSYMS)
    more = count - text.count(b"\n")
    lines = (b"%016x t made_up_%d\n" % (_SYMBOLS + 64 * n, n) for n in range(more))
    with SessionWriter.open(where) as writer:
        writer.write(_KALLSYMS, b"".join([*lines, text]), compressed=True)
        writer.finish("recovered")


def machine(session: Path, where: Path, shape: Shape, regions: int, kinds: int = 0) -> int:
    """Make ``where`` a session like another, of one region, with these; returns the events.

    ``kinds``: of how many events, that are in no kernel; 0: of the real ones.
    """
    recording = tracekit.open(session)
    rows = recording.rows.take(recording.select(Filter(events=_EVENTS)))
    rows = rows.take(rows.length == _LENGTH)
    region = np.frombuffer(recording.buffers[0].data, np.uint8)
    places = rows.offset.astype(np.int64)[:, None] + np.arange(_LENGTH)
    deltas = np.diff(rows.ts_raw.astype(np.int64), prepend=int(rows.ts_raw[0]))
    deltas = np.clip(deltas, 1, _DELTA)
    ignored = shutil.ignore_patterns("timeline.*", "index", ".index*", "notes.json", "reports.*")
    shutil.copytree(session, where, ignore=ignored)
    folder = where / "boots" / "0" / "regions"
    (raw,) = folder.glob("*.raw.*")
    name = raw.name.split(".raw.")[0]
    raw.unlink()
    start = int(rows.ts_raw[0])
    payloads = region[places]
    if kinds:
        _formats(recording, where, kinds)
        payloads = np.tile(payloads, (-(-8 * kinds // len(payloads)), 1))
        deltas = np.resize(deltas, len(payloads))
        ids = _SYNTHETIC + np.random.default_rng(_SEED).integers(0, kinds, len(payloads))
        payloads[:, :2] = ids.astype(np.uint16)[:, None].view(np.uint8)
    streams = [_Stream(payloads, deltas, cpu, start) for cpu in range(shape.cpus)]
    for number in range(regions):
        target = folder / (f"{name}-{number:04}.raw.zst" if number else f"{name}.raw.zst")
        with (
            target.open("wb") as file,
            zstandard.ZstdCompressor(1).stream_writer(file) as out,
        ):
            for part in _region(shape, streams, bytes(region[_HEADER : _HEADER + 16])):
                out.write(part)
        latest = max(stream.time for stream in streams)
        for stream in streams:
            stream.time = latest
    return shape.events * regions
