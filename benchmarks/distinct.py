"""Large sessions of distinct records, as real machines produce them: equal payloads are rare there.

Each copy of a capture's region is later than the one before it, and has one numeric field of every
record changed: of its format's integers of four or eight bytes one is chosen at random, and its low
twenty bits are, too, both by a seed. Addresses of the kernel are no numbers: they repeat on real
machines, too. Events without a number stay as they are. The capture's trace.dat, without its
compression, holds the same pages, and gets the same changes, so that trace-cmd prints the same
events.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zstandard

import tracekit
from tracekit.ftrace.format import Field
from tracekit.recording import Recording

__all__ = ["distinct"]

_Array = npt.NDArray[Any]
_SEED = 20
_BITS = 20
_ADDRESS = 0x80  # the highest byte of a kernel's address
_PAGE = 4096
_SHORT, _TIME_STAMP = 112, 31  # the longest payload of a short header; a type of event
_PAUSE = 1_000_000  # units of the trace clock between two copies
_KEY = 64  # bytes of a page that tell which it is


def _numeric(field: Field) -> bool:
    pointer = field.type.endswith("*")
    return field.length is None and not field.loc and not pointer and field.size in (4, 8)


def _fields(recording: Recording, region: _Array, rng: np.random.Generator) -> _Array:
    """Where in the region the field lies that is changed, for every record that has one."""
    rows, places = recording.rows, [np.empty(0, np.uint64)]
    for number, kind in enumerate(recording.kinds):
        fmt = recording.boot(kind.boot).format(kind.id)
        fields = [f for f in fmt.fields if _numeric(f)] if fmt else []
        mine = rows.kind == number
        most, place = np.zeros(int(mine.sum())), np.zeros(int(mine.sum()), np.uint64)
        for field in fields:
            at = rows.offset[mine] + np.uint64(field.offset)
            inside = rows.length[mine] >= field.offset + field.size
            high = region[np.where(inside, at, 0).astype(np.int64) + field.size - 1]
            draws = rng.random(len(at)) * (inside & ((field.size < 8) | (high < _ADDRESS)))
            place, most = np.where(draws > most, at, place), np.maximum(most, draws)
        places.append(place[most > 0])
    return np.concatenate(places).astype(np.int64)


@dataclass(frozen=True)
class _Places:
    """Bytes of a file: of the fields that change, of sub-buffers' stamps, of absolute stamps."""

    fields: _Array
    pages: _Array
    stamps: _Array

    @classmethod
    def of(cls, recording: Recording, region: _Array, rng: np.random.Generator) -> _Places:
        (buffer,) = recording.buffers
        pages = [row.offset for r in buffer.records for row in r.pages() if row.events]
        return cls(_fields(recording, region, rng), np.array(pages), _stamps(recording, region))

    def moved(self, move: Callable[[_Array], _Array]) -> _Places:
        """The same places in another file."""
        return _Places(move(self.fields), move(self.pages), move(self.stamps))


def _stamps(recording: Recording, region: _Array) -> _Array:
    """Where the absolute time stamps begin (RINGBUF_TYPE_TIME_STAMP, 8 bytes before an event)."""
    order = np.argsort(recording.rows.offset)
    offset = recording.rows.offset[order].astype(np.int64)
    length = recording.rows.length[order].astype(np.int64)
    head = offset - np.where(length > _SHORT, 8, 4)
    begin = np.append(0, offset[:-1] + length[:-1])  # where the event before ends
    begin = np.where(begin < head // _PAGE * _PAGE + 16, head // _PAGE * _PAGE + 16, begin)
    places = head[head - begin == 8] - 8
    return places[region[places] & 31 == _TIME_STAMP]


def _changed(data: _Array, places: _Places, bits: _Array, later: int) -> bytes:
    data = data.copy()
    for byte in range(3):
        data[places.fields + byte] ^= (bits >> (8 * byte) & 0xFF).astype(np.uint8)
    data[: len(data) // 8 * 8].view(np.uint64)[places.pages // 8] += np.uint64(later)
    words = data[: len(data) // 4 * 4].view(np.uint32)
    at = places.stamps // 4
    ns = (words[at] >> 5).astype(np.uint64) + (words[at + 1].astype(np.uint64) << np.uint64(27))
    ns += np.uint64(later)
    words[at] = (ns << np.uint64(5)).astype(np.uint32) | _TIME_STAMP
    words[at + 1] = (ns >> np.uint64(27)).astype(np.uint32)
    return data.tobytes()


def _same_places(region: bytes, trace: bytes, places: _Array) -> _Array:
    """Those places in a trace.dat with the same pages; raises KeyError where it lacks one."""
    known = {trace[at : at + _KEY]: at for at in range(0, len(trace), _PAGE)}
    pages = np.unique(places // _PAGE)
    table = np.zeros(int(pages[-1]) + 1, np.int64)
    for page in pages.tolist():
        table[page] = known[region[page * _PAGE : page * _PAGE + _KEY]]
    return table[places // _PAGE] + places % _PAGE


def distinct(session: Path, trace: Path | None, where: Path, copies: int) -> list[Path]:
    """Make ``where`` a session of ``copies`` changed regions; the changed copies of ``trace``.

    The session must have one region. The files are in a folder beside ``where``.
    """
    recording = tracekit.open(session)
    rng = np.random.default_rng(_SEED)
    region = bytes(recording.buffers[0].data)
    places = _Places.of(recording, np.frombuffer(region, np.uint8), rng)
    ts = recording.rows.ts_raw
    span = int(ts[-1] - ts[0]) + _PAUSE
    ignored = shutil.ignore_patterns("timeline.*", "index", ".index*", "notes.json")
    shutil.copytree(session, where, ignore=ignored)
    folder = where / "boots" / "0" / "regions"
    (raw,) = folder.glob("*.raw.*")
    name, suffix = raw.name.split(".raw.")
    traces, beside = [], where.with_name(f"{where.name}-traces")
    beside.mkdir()
    whole = trace.read_bytes() if trace else b""
    theirs = places.moved(lambda at: _same_places(region, whole, at)) if trace else None
    for copy in range(copies):
        bits = rng.integers(0, 1 << _BITS, len(places.fields))
        made = _changed(np.frombuffer(region, np.uint8), places, bits, copy * span)
        target = raw if not copy else folder / f"{name}-{copy:03}.raw.{suffix}"
        target.unlink(missing_ok=True)
        target.write_bytes(zstandard.ZstdCompressor(1).compress(made) if suffix == "zst" else made)
        if theirs is not None:
            traces.append(beside / f"{copy}.dat")
            data = np.frombuffer(whole, np.uint8)
            traces[-1].write_bytes(_changed(data, theirs, bits, copy * span))
    return traces
