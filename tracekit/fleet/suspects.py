"""What is slower than its peers: kernels, hosts, and what of them it is.

Each figure of a group (a kernel, a host) is tested against the same figure of its peers by ranks,
and all tests of one report are adjusted together (Holm), so that a report on a fleet in which
nothing is wrong accuses anything in at most ``ALPHA`` of all cases. Kernels are compared within
their host type, hosts within their host type and kernel. What is accused is slower by more than the
clocks may be off, and by more than ``_SHARE`` of its own and ``_PART`` of the median blackout. What
varies by less than that in all groups together is not tested: most initcalls take a few us.

A phase is accused only of what is left of it without the devices and initcalls in it that are: a
slow device is not told twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracekit.fleet.ask import Fleet
from tracekit.frozen import dataclass, field
from tracekit.ftrace.columns import as_numpy
from tracekit.runs.ranks import holm, mid_ranks, normal_p
from tracekit.runs.sets import ALPHA

__all__ = ["Suspect", "suspects"]

_SHARE, _PART = 0.05, 0.001
_FEWEST = 8  # handovers of a group, and of its peers, that a test takes
_SAMPLE = {"phase": 10_000, "device": 10_000, "initcall": 1_000, "unit": 5_000}
_TABLES = {"phase": "phases", "device": "devices", "initcall": "initcalls", "unit": "units"}
_DETAIL = {"initcall": "level"}
_SPAN = 1 << 64
_FAR = 2.5  # standard deviations; what is nearer has a p above ALPHA
_PARTS = ("device", "initcall")
_Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Suspect:
    """``name`` of ``kind`` takes ``delta_ns`` longer (median) in a group than in its peers.

    ``factor`` is "kernel" or "host", ``group`` which. ``p`` is adjusted for all tests.
    """

    factor: str
    group: str
    kind: str
    name: str
    handovers: int
    peers: int
    median_ns: float
    peers_median_ns: float
    delta_ns: float
    p: float

    def as_dict(self) -> dict[str, Any]:
        """The ``--json`` form."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Sample:
    """One kind's figures: of handover ``at`` (a place in the handovers) that of name ``name``."""

    kind: str
    names: list[str]
    details: list[str]
    at: _Array
    name: _Array
    ns: _Array
    error_ns: _Array


@dataclass(frozen=True, slots=True)
class _Handovers:
    keys: _Array
    codes: Mapping[str, _Array]  # factor -> number of the group
    groups: Mapping[str, list[str]]
    strata: Mapping[str, _Array]  # factor -> number of what its values are centred within
    blocks: Mapping[str, _Array]  # factor -> number of what its groups are compared within
    blackout_ns: float


@dataclass(frozen=True, slots=True)
class _Test:
    factor: str
    group: int
    kind: str
    name: str
    detail: str
    size: int
    peers: int
    median: float
    peers_median: float
    p: float
    least: float


@dataclass(slots=True)
class _Family:
    """How many tests were made, and those whose p is not out of the question."""

    tests: int = 0
    found: list[_Test] = field(default_factory=list)

    def add(self, other: _Family) -> None:
        self.tests += other.tests
        self.found += other.found


def _codes(table: pa.Table, name: str) -> tuple[_Array, list[str]]:
    column = table[name].combine_chunks().dictionary_encode()
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    return as_numpy(column.indices.fill_null(-1)), column.dictionary.to_pylist()


def _pairs(*codes: _Array) -> _Array:
    """One number for each combination."""
    whole = np.unique(np.stack(codes, axis=1), axis=0, return_inverse=True)[1]
    return np.asarray(whole).reshape(-1)


def _handovers(fleet: Fleet) -> _Handovers:
    table = fleet.table(
        "SELECT handover, kernel, host, host_type, blackout_ns FROM handovers ORDER BY handover"
    )
    kernel, kernels = _codes(table, "kernel")
    host, hosts = _codes(table, "host")
    kind, _ = _codes(table, "host_type")
    blackout = as_numpy(table["blackout_ns"].drop_null().combine_chunks())
    return _Handovers(
        as_numpy(table["handover"].combine_chunks()),
        {"kernel": kernel, "host": host},
        {"kernel": kernels, "host": hosts},
        {"kernel": kind, "host": _pairs(kernel, kind)},
        {"kernel": np.zeros_like(kind), "host": kind},
        float(np.median(blackout)) if len(blackout) else 0.0,
    )


def _sample(fleet: Fleet, kind: str, known: _Handovers) -> _Sample:
    """The figures of so many handovers, drawn by their keys, which are spread evenly."""
    share = min(1.0, _SAMPLE[kind] / max(1, len(known.keys)))
    below = int(-(_SPAN // 2) + share * (_SPAN - 1)) if share < 1 else _SPAN // 2 - 1
    table = fleet.table(
        f"SELECT handover, name, duration_ns, error_ns FROM {_TABLES[kind]} "
        "WHERE handover <= ? AND duration_ns IS NOT NULL", [below],
    )  # fmt: skip
    name, names = _codes(table, "name")
    details = dict.fromkeys(names, "")
    if kind in _DETAIL:
        details |= {row["name"]: row["detail"] or "" for row in fleet.rows(
            f"SELECT name, any_value({_DETAIL[kind]}) AS detail FROM {_TABLES[kind]} "
            "WHERE handover <= ? GROUP BY name", [below],
        )}  # fmt: skip
    error = table["error_ns"].fill_null(0).combine_chunks()
    return _Sample(
        kind, names, [details[n] for n in names],
        np.searchsorted(known.keys, as_numpy(table["handover"].combine_chunks())), name,
        as_numpy(table["duration_ns"].combine_chunks()).astype(np.float64), as_numpy(error),
    )  # fmt: skip


def _centred(values: _Array, strata: _Array) -> _Array:
    """Values less the median of their stratum."""
    order = np.argsort(strata, kind="stable")
    sorted_strata, sorted_values = strata[order], values[order]
    edges = np.flatnonzero(np.diff(sorted_strata)) + 1
    made = np.empty_like(values)
    for rows, part in zip(np.split(order, edges), np.split(sorted_values, edges), strict=True):
        made[rows] = part - np.median(part)
    return made


def _tests(
    values: _Array, groups: _Array, about: tuple[str, str, str, str], least: float
) -> _Family:
    """Each group of one figure against the rest; ``values`` are centred, ``groups`` are sorted."""
    factor, kind, name, detail = about
    ends = np.append(np.flatnonzero(np.diff(groups)) + 1, len(groups))
    begins = np.append(0, ends[:-1])
    sizes = ends - begins
    tested = (groups[begins] >= 0) & (sizes >= _FEWEST) & (len(groups) - sizes >= _FEWEST)
    if not tested.any():
        return _Family()
    ranks = mid_ranks(values)
    sums = np.add.reduceat(ranks, begins)
    away = np.abs(sums - sizes * (len(groups) + 1) / 2.0)
    spread = np.sqrt(sizes * (len(groups) - sizes) * (len(groups) + 1) / 12.0)  # without ties
    family = _Family(int(tested.sum()))
    for i in np.flatnonzero(tested & (away > _FAR * spread)).tolist():
        begin, end, n = int(begins[i]), int(ends[i]), int(sizes[i])
        counts = np.unique(values, return_counts=True)[1].astype(np.float64)
        p = normal_p(float(sums[i]), n, len(groups) - n, float((counts**3 - counts).sum()))
        middle = float(np.median(values[begin:end]))
        peers = float(np.median(np.concatenate([values[:begin], values[end:]])))
        family.found.append(_Test(factor, int(groups[begin]), kind, name, detail, n,
                                  len(groups) - n, middle, peers, p, least))  # fmt: skip
    return family


def _of_sample(sample: _Sample, known: _Handovers, factor: str) -> _Family:
    """All groups of a factor, figure by figure; those of one block are each other's peers."""
    group = known.codes[factor][sample.at]
    block = known.blocks[factor][sample.at]
    order = np.lexsort((group, block, sample.name))
    moved = (np.diff(sample.name[order]) != 0) | (np.diff(block[order]) != 0)
    whole = _Family()
    for rows in np.split(order, np.flatnonzero(moved) + 1):
        if not len(rows):
            continue
        number, ns = int(sample.name[rows[0]]), sample.ns[rows]
        middle = float(np.median(ns))
        least = max(2.0 * float(sample.error_ns[rows].max()), _PART * known.blackout_ns,
                    _SHARE * middle)  # fmt: skip
        about = factor, sample.kind, sample.names[number], sample.details[number]
        centred = _centred(ns, known.strata[factor][sample.at[rows]]) + middle
        if float(np.ptp(centred)) <= least:  # whatever the groups are, none could be accused
            continue
        whole.add(_tests(centred, group[rows], about, least))
    return whole


def _judged(family: _Family, known: _Handovers) -> list[tuple[_Test, Suspect]]:
    found = []
    adjusted = holm([t.p for t in family.found], family.tests)
    for test, p in zip(family.found, adjusted, strict=True):
        delta = test.median - test.peers_median
        if p <= ALPHA and delta > test.least:
            suspect = Suspect(
                test.factor, known.groups[test.factor][test.group], test.kind, test.name,
                test.size, test.peers, test.median, test.peers_median, delta, p,
            )  # fmt: skip
            found.append((test, suspect))
    return found


def _phase_of(test: _Test) -> str:
    """The phase that a device's shutdown or an initcall lies in."""
    return "device shutdown" if test.kind == "device" else f"initcalls: {test.detail}"


def _without(phases: _Sample, parts: Sequence[_Sample], guilty: Sequence[_Test]) -> _Sample:
    """The phases less what is accused in them already."""
    ns = phases.ns.copy()
    width = len(phases.names)
    places = phases.at * width + phases.name
    order = np.argsort(places)
    for kind, name, phase in {(t.kind, t.name, _phase_of(t)) for t in guilty}:
        sample = next(s for s in parts if s.kind == kind)
        rows = np.flatnonzero(sample.name == sample.names.index(name))
        if phase not in phases.names or not len(rows):
            continue
        wanted = sample.at[rows] * width + phases.names.index(phase)
        at = np.minimum(np.searchsorted(places, wanted, sorter=order), len(order) - 1)
        here = places[order[at]] == wanted
        np.subtract.at(ns, order[at[here]], sample.ns[rows[here]])
    return _Sample(phases.kind, phases.names, phases.details, phases.at, phases.name, ns,
                   phases.error_ns)  # fmt: skip


def suspects(fleet: Fleet) -> list[Suspect]:
    """What is slower than its peers, the largest difference first."""
    known = _handovers(fleet)
    if not len(known.keys):
        return []
    samples = {kind: _sample(fleet, kind, known) for kind in _TABLES}
    factors = tuple(known.codes)
    parts = [samples[kind] for kind in ("device", "initcall", "unit")]
    tests = _together(_of_sample(s, known, f) for f in factors for s in parts)
    phases = _together(_of_sample(samples["phase"], known, f) for f in factors)
    # both steps are one family: a phase is tested once, with or without what is accused in it
    guilty = [t for t, _ in _judged(_together([tests, phases]), known) if t.kind in _PARTS]
    if guilty:
        left = _without(samples["phase"], parts[:2], guilty)
        phases = _together(_of_sample(left, known, f) for f in factors)
    found = [suspect for _, suspect in _judged(_together([tests, phases]), known)]
    return sorted(found, key=lambda s: -s.delta_ns)


def _together(families: Iterable[_Family]) -> _Family:
    whole = _Family()
    for family in families:
        whole.add(family)
    return whole
