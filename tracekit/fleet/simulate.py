"""Simulated fleets, drawn from real handovers: to try what a fleet report finds, and what not.

Each simulated handover is a real one, drawn at random, in which every device, initcall, unit and
the rest of every phase is multiplied by a number of its own, log-normal with the spread ``_NOISE``,
and by one that all of a host share (``_HOST_NOISE`` is 0: hosts are alike). Phases are then added
up again: what was in them, plus what is left; the blackout is the sum of its phases. Kernel, host
and day are drawn independently of all that, so nothing differs between them but what is asked for:
a device that is slow on one host, and a phase that is slow under one kernel.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracekit.errors import UsageError
from tracekit.fleet.dataset import Dataset
from tracekit.fleet.tables import TABLES, Tables, handover_key
from tracekit.frozen import dataclass
from tracekit.runs.run import Figure, Run

__all__ = ["Slow", "World", "simulate"]

_NOISE = 0.08  # sigma of the logarithm of a figure
_PARTS = ("device", "initcall", "unit")
_CHUNK = 2048  # handovers made at a time
_Array = npt.NDArray[Any]
_OUTSIDE = ("kexec load", "systemd")  # phases that are not part of the blackout
_FIRST = date(2026, 1, 1)


@dataclass(frozen=True, slots=True)
class Slow:
    """``name`` (of a device, initcall or phase) takes ``more_ns`` longer in one ``group``."""

    kind: str
    name: str
    group: str  # a host or a kernel
    more_ns: int


@dataclass(frozen=True, slots=True)
class World:
    """What is simulated; a seed gives the same fleet each time."""

    handovers: int
    seed: int = 1
    kernels: tuple[str, ...] = ("7.2.13", "7.3.4")
    hosts: int = 200
    days: int = 30
    slow: tuple[Slow, ...] = ()


@dataclass(frozen=True, slots=True)
class _Base:
    """A real handover as arrays: its parts, and the phase that each is in (-1: none)."""

    run: Run
    phases: list[Figure]
    parts: list[Figure]
    inside: _Array
    rest: _Array  # of each phase, what no part explains
    blackout: _Array  # which phases are in it


def _base(run: Run) -> _Base:
    phases = [f for f in run.figures if f.kind == "phase" and f.ns is not None]
    parts = [f for f in run.figures if f.kind in _PARTS and f.ns is not None]
    names = [f.name for f in phases]

    def phase(part: Figure) -> int:
        name = "device shutdown" if part.kind == "device" else f"initcalls: {part.detail}"
        return names.index(name) if part.kind != "unit" and name in names else -1

    inside = np.array([phase(f) for f in parts], np.int64)
    took = np.array([f.ns or 0 for f in parts], np.float64)
    held = np.bincount(inside[inside >= 0], took[inside >= 0], len(phases))
    whole = np.array([f.ns or 0 for f in phases], np.float64)
    return _Base(run, phases, parts, inside, np.maximum(whole - held, 0.0),
                 np.array([not name.startswith(_OUTSIDE) for name in names], bool))  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Drawn:
    """Handovers of one base: kernel, host, and a row of numbers each."""

    base: _Base
    number: _Array
    kernel: list[str]
    host: list[str]
    parts: _Array
    phases: _Array


def _more(figures: Sequence[Figure], drawn: tuple[list[str], list[str]], slow: Sequence[Slow],
          took: _Array) -> None:  # fmt: skip
    """Make slow what is to be."""
    for one in slow:
        kernel, host = drawn
        mine = np.array([one.group in pair for pair in zip(kernel, host, strict=True)])
        for column, figure in enumerate(figures):
            if (figure.kind, figure.name) == (one.kind, one.name):
                took[mine, column] += one.more_ns


def _draw(base: _Base, number: _Array, rng: np.random.Generator, world: World) -> _Drawn:
    n = len(number)
    kernel = [world.kernels[i] for i in rng.integers(0, len(world.kernels), n).tolist()]
    host = [f"host{i:04d}" for i in rng.integers(0, world.hosts, n).tolist()]
    mean = np.array([f.ns or 0 for f in base.parts], np.float64)
    parts = mean * rng.lognormal(0, _NOISE, (n, len(mean)))
    rest = base.rest * rng.lognormal(0, _NOISE, (n, len(base.rest)))
    _more(base.parts, (kernel, host), world.slow, parts)
    _more(base.phases, (kernel, host), world.slow, rest)
    phases = np.rint(rest).astype(np.int64)
    whole = np.rint(parts).astype(np.int64)
    for column in range(len(base.parts)):
        if base.inside[column] >= 0:
            phases[:, base.inside[column]] += whole[:, column]
    return _Drawn(base, number, kernel, host, whole, phases)


def _mark(world: World, number: int) -> str:
    return hashlib.sha256(f"simulated {world.seed} {number}".encode()).hexdigest()


def _repeated(values: Sequence[Any], n: int, kind: pa.DataType) -> pa.Array:
    """The values, ``n`` times over."""
    encoded = pa.array(values, kind).dictionary_encode()
    indices = np.tile(encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False), n)
    mask = indices < 0
    picked = pa.DictionaryArray.from_arrays(pa.array(indices, pa.int32(), mask=mask),
                                            encoded.dictionary)  # fmt: skip
    return picked.cast(kind)


def _figures(table: str, figures: Sequence[Figure], columns: Sequence[int], took: _Array,
             keys: _Array) -> pa.Table:  # fmt: skip
    """The rows of a table of figures: handover by handover."""
    n, some = len(keys), [figures[c] for c in columns]
    made: dict[str, Any] = {
        "handover": pa.array(np.repeat(keys, len(some))),
        "name": _repeated([f.name for f in some], n, pa.string()),
        "start_ns": _repeated([f.start_ns for f in some], n, pa.int64()),
        "duration_ns": pa.array(took[:, columns].reshape(-1)),
        "error_ns": _repeated([f.error_ns for f in some], n, pa.int64()),
        "place": _repeated(list(range(len(some))), n, pa.int32()),
        "driver": _repeated([f.detail for f in some], n, pa.string()),
        "level": _repeated([f.detail for f in some], n, pa.string()),
        "calls": _repeated([f.count for f in some], n, pa.int32()),
        "finished": _repeated([f.finished for f in some], n, pa.bool_()),
    }
    schema = TABLES[table]
    return pa.table([made[name] for name in schema.names], schema=schema)


def _handovers(drawn: _Drawn, world: World, keys: _Array, day: str) -> pa.Table:
    run, n = drawn.base.run, len(keys)
    dark = next((i for i, f in enumerate(drawn.base.phases) if f.name == "dark"), None)
    blackout, gap = run.figure("total", "blackout"), run.figure("total", "gap")
    columns: dict[str, Any] = {
        "handover": keys,
        "session": [_mark(world, number) for number in drawn.number.tolist()],
        "number": [0] * n, "path": ["simulated"] * n, "time": [f"{day}T00:00:00Z"] * n,
        "host": drawn.host, "host_type": [run.host_type] * n,
        "old_kernel": [run.old_kernel] * n, "way": [run.way] * n,
        "started_by": [run.started_by] * n, "clock": [run.clock] * n,
        "clock_error_ns": [run.clock_error_ns] * n,
        "blackout_ns": drawn.phases[:, drawn.base.blackout].sum(axis=1),
        "blackout_error_ns": [blackout.error_ns if blackout else None] * n,
        "gap_ns": [None] * n if dark is None else drawn.phases[:, dark],
        "gap_error_ns": [gap.error_ns if gap else None] * n,
        "jump_seen": [run.jump_seen] * n, "verdict": [run.verdict] * n,
        "dma_left": [None if run.dma_left is None else list(run.dma_left)] * n,
    }  # fmt: skip
    schema = TABLES["handovers"]
    return pa.table([pa.array(columns[f.name], f.type) for f in schema], schema=schema)


def _tables(drawn: _Drawn, world: World, day: str) -> Tables:
    keys = np.array([handover_key(_mark(world, n), 0) for n in drawn.number.tolist()], np.int64)
    run, parts = drawn.base.run, drawn.base.parts
    made = {
        "handovers": _handovers(drawn, world, keys, day),
        "phases": _figures("phases", drawn.base.phases, range(len(drawn.base.phases)),
                           drawn.phases, keys),
    }  # fmt: skip
    for kind, table in (("device", "devices"), ("initcall", "initcalls"), ("unit", "units")):
        columns = [i for i, f in enumerate(parts) if f.kind == kind]
        if columns:
            made[table] = _figures(table, parts, columns, drawn.parts, keys)
    n, lost = len(keys), TABLES["losses"]
    values = [keys, *([v] * n for v in (run.events, run.lost, run.lost_at_least, run.unreadable,
                                        run.undecodable))]  # fmt: skip
    made["losses"] = pa.table(
        [pa.array(v, f.type) for v, f in zip(values, lost, strict=True)], schema=lost
    )
    return made


def _of_day(
    bases: Sequence[_Base], world: World, day: int, numbers: _Array
) -> dict[str, list[Tables]]:
    """Kernel -> the tables of a day."""
    rng = np.random.default_rng([world.seed, day])
    name = (_FIRST + timedelta(days=day)).isoformat()
    of = rng.integers(0, len(bases), len(numbers))
    made: dict[str, list[Tables]] = {}
    for place, base in enumerate(bases):
        mine = numbers[of == place]
        for begin in range(0, len(mine), _CHUNK):
            drawn = _draw(base, mine[begin : begin + _CHUNK], rng, world)
            tables = _tables(drawn, world, name)
            kernels = pa.array(drawn.kernel)
            keys = tables["handovers"]["handover"]
            for kernel in world.kernels:
                chosen = keys.filter(pa.compute.equal(kernels, kernel))
                made.setdefault(kernel, []).append({
                    t: rows.filter(pa.compute.is_in(rows["handover"], chosen))
                    for t, rows in tables.items()
                })  # fmt: skip
    return made


def simulate(dataset: Dataset, runs: Sequence[Run], world: World) -> Iterator[int]:
    """Add simulated handovers drawn from real ones, a day a commit; yields how many each time.

    Raises :class:`~tracekit.errors.UsageError` where nothing of the real ones can be made slow.
    """
    import pyarrow.compute  # noqa: F401 - pa.compute is there then

    from tracekit.fleet.tables import joined

    for one in world.slow:
        if not any(run.figure(one.kind, one.name) for run in runs):  # type: ignore[arg-type]
            raise UsageError(f"no {one.kind} {one.name!r} in the handovers to draw from")
    bases = [_base(run) for run in runs]
    days = np.array_split(np.arange(world.handovers), world.days)
    for day, numbers in enumerate(days):
        date_name = (_FIRST + timedelta(days=day)).isoformat()
        parts = _of_day(bases, world, day, numbers)
        marks = {_mark(world, n): ("simulated", 1) for n in numbers.tolist()}
        dataset.commit_parts(
            marks, (((k, date_name), joined(some)) for k, some in parts.items() if some)
        )
        yield len(numbers)
