"""Large sessions of distinct records, as real machines produce them: equal payloads are rare there.

Each copy of a capture's region has one numeric field of every record changed: of its format's
integers of four or eight bytes one is chosen at random, and its low twenty bits are, too, both by a
seed. Addresses of the kernel are no numbers: they repeat on real machines, too. Events without a
number stay as they are. The capture's trace.dat, without its compression, holds the same pages, and
gets the same changes, so that trace-cmd prints the same events.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import zstandard

import tracekit
from tracekit.ftrace.format import Field
from tracekit.recording import Recording

__all__ = ["distinct"]

_SEED = 20
_BITS = 20
_ADDRESS = 0x80  # the highest byte of a kernel's address
_PAGE = 4096
_KEY = 64  # bytes of a page that tell which it is


def _numeric(field: Field) -> bool:
    pointer = field.type.endswith("*")
    return field.length is None and not field.loc and not pointer and field.size in (4, 8)


def _places(
    recording: Recording, region: np.ndarray[Any, Any], rng: np.random.Generator
) -> np.ndarray[Any, Any]:
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


def _changed(
    data: np.ndarray[Any, Any], places: np.ndarray[Any, Any], bits: np.ndarray[Any, Any]
) -> bytes:
    data = data.copy()
    for byte in range(3):
        data[places + byte] ^= (bits >> (8 * byte) & 0xFF).astype(np.uint8)
    return data.tobytes()


def _same_places(region: bytes, trace: bytes, places: np.ndarray[Any, Any]) -> Any:
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
    places = _places(recording, np.frombuffer(region, np.uint8), rng)
    ignored = shutil.ignore_patterns("timeline.*", "index", ".index*", "notes.json")
    shutil.copytree(session, where, ignore=ignored)
    folder = where / "boots" / "0" / "regions"
    (raw,) = folder.glob("*.raw.*")
    name, suffix = raw.name.split(".raw.")
    traces, beside = [], where.with_name(f"{where.name}-traces")
    beside.mkdir()
    whole = trace.read_bytes() if trace else b""
    theirs = _same_places(region, whole, places) if trace else None
    for copy in range(copies):
        bits = rng.integers(0, 1 << _BITS, len(places))
        made = _changed(np.frombuffer(region, np.uint8), places, bits)
        target = raw if not copy else folder / f"{name}-{copy:03}.raw.{suffix}"
        target.unlink(missing_ok=True)
        target.write_bytes(zstandard.ZstdCompressor(1).compress(made) if suffix == "zst" else made)
        if theirs is not None:
            traces.append(beside / f"{copy}.dat")
            traces[-1].write_bytes(_changed(np.frombuffer(whole, np.uint8), theirs, bits))
    return traces
