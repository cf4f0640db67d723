"""Two sets of handovers: medians, spread, a rank test, and what changed beyond noise."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Literal

import numpy as np

from tracekit.frozen import dataclass
from tracekit.runs.pair import signed
from tracekit.runs.ranks import fewest_p, holm, rank_test
from tracekit.runs.run import KINDS, Figure, Kind, Run
from tracekit.text import duration

__all__ = [
    "ALPHA", "GROUPS", "Change", "Comparison", "Spread", "by_group", "compare_sets", "spread_of",
    "version_key",
]  # fmt: skip

#: Of all tests of a kind (phases, devices, ...), one accuses by chance in at most this share of
#: comparisons.
ALPHA = 0.01
#: What ``--by`` takes.
GROUPS: Mapping[str, Callable[[Run], str]] = {
    "kernel": lambda run: run.kernel,
    "host": lambda run: run.host,
    "host-type": lambda run: run.host_type,
    "clock": lambda run: run.clock,
}
_DIGITS = "0123456789"
_NAMED = 5  # changes that the sentence names

#: ``apart``: every run of one set is beyond every run of the other and the clocks' errors, but
#: there are too few runs for the test. ``within error``: the test tells them apart, by less than
#: the clocks may be off.
Found = Literal[
    "more", "less", "apart", "within noise", "within error", "too few runs", "new", "vanished",
    "unknown",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over a set of runs, ns: in ``seen`` of ``runs``, its time known of ``n``.

    ``low_ns`` and ``high_ns`` are the quartiles. ``error_ns``: the largest error of one of them,
    None where one is not bounded.
    """

    runs: int
    seen: int
    n: int
    median_ns: float | None
    low_ns: float | None
    high_ns: float | None
    least_ns: int | None
    most_ns: int | None
    error_ns: int | None


@dataclass(frozen=True, slots=True)
class Change:
    """A figure in both sets. ``delta_ns``: median of B less that of A.

    ``p`` is of the rank test, ``p_adjusted`` as one of all tests of its kind (Holm); None where
    nothing was tested.
    """

    kind: Kind
    name: str
    detail: str
    a: Spread
    b: Spread
    delta_ns: float | None
    error_ns: int | None
    p: float | None
    p_adjusted: float | None
    found: Found

    @property
    def beyond_noise(self) -> bool:
        """Whether it changed."""
        return self.found in ("more", "less", "apart", "new", "vanished")


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two sets; ``group`` says which part of them (``7.3.4``), '' is all."""

    group: str
    a: tuple[Run, ...]
    b: tuple[Run, ...]
    name_a: str
    name_b: str
    changes: tuple[Change, ...]
    sentence: str

    def as_dict(self) -> dict[str, Any]:
        """The ``--json`` form."""
        return {
            "group": self.group,
            "a": {"name": self.name_a, "runs": [run.as_dict() for run in self.a]},
            "b": {"name": self.name_b, "runs": [run.as_dict() for run in self.b]},
            "changes": [asdict(change) for change in self.changes],
            "sentence": self.sentence,
        }


def spread_of(figures: Sequence[Figure], runs: int) -> Spread:
    """What a figure was in a set of ``runs``."""
    known = [f for f in figures if f.ns is not None]
    values = [f.ns for f in known if f.ns is not None]
    errors = [f.error_ns for f in known]
    bounded = [e for e in errors if e is not None]
    low, median, high = (
        np.quantile(np.array(values, np.int64), [0.25, 0.5, 0.75]).tolist()
        if values
        else [None] * 3
    )
    return Spread(
        runs, len(figures), len(values), median, low, high,
        min(values, default=None), max(values, default=None),
        max(bounded) if bounded and len(bounded) == len(errors) else None,
    )  # fmt: skip


def _collected(runs: Iterable[Run]) -> dict[tuple[Kind, str], list[Figure]]:
    found: dict[tuple[Kind, str], list[Figure]] = {}
    for run in runs:
        for figure in run.figures:
            if figure.kind != "phase" or figure.ns is not None:
                found.setdefault((figure.kind, figure.name), []).append(figure)
    return found


def _values(figures: Sequence[Figure]) -> list[float]:
    return [float(f.ns) for f in figures if f.ns is not None]


def _untested(key: tuple[Kind, str], a: Sequence[Figure], b: Sequence[Figure],
              sizes: tuple[int, int]) -> Change:  # fmt: skip
    mine, theirs = spread_of(a, sizes[0]), spread_of(b, sizes[1])
    delta = error = p = None
    found: Found = "unknown"
    if not a or not b:
        found = "new" if b else "vanished"
    elif mine.median_ns is not None and theirs.median_ns is not None:
        delta = theirs.median_ns - mine.median_ns
        if mine.error_ns is not None and theirs.error_ns is not None:
            error = mine.error_ns + theirs.error_ns
            p = rank_test(_values(a), _values(b))
    detail = next((f.detail for f in (*b, *a)), "")
    return Change(*key, detail, mine, theirs, delta, error, p, None, found)


def _ranges_apart(a: Spread, b: Spread, error: int) -> bool:
    if a.most_ns is None or b.most_ns is None or a.least_ns is None or b.least_ns is None:
        return False
    return b.least_ns - a.most_ns > error or a.least_ns - b.most_ns > error


def _judged(change: Change, adjusted: float, tests: int) -> Change:
    a, b, error, delta = change.a, change.b, change.error_ns or 0, change.delta_ns or 0
    found: Found = "within noise"
    if fewest_p(a.n, b.n) * tests > ALPHA:
        found = "apart" if _ranges_apart(a, b, error) else "too few runs"
    elif adjusted <= ALPHA:
        found = "within error" if abs(delta) <= error else "more" if delta > 0 else "less"
    return replace(change, p_adjusted=adjusted, found=found)


def _changes(a: Sequence[Run], b: Sequence[Run], kind: Kind) -> list[Change]:
    mine, theirs = _collected(a), _collected(b)
    keys = [key for key in {**mine, **theirs} if key[0] == kind]
    sizes = len(a), len(b)
    made = [_untested(key, mine.get(key, []), theirs.get(key, []), sizes) for key in keys]
    tested = [change.p for change in made if change.p is not None]
    adjusted = iter(holm(tested))
    return [
        change if change.p is None else _judged(change, next(adjusted), len(tested))
        for change in made
    ]


def _size(change: Change) -> float:
    longest = max(s.median_ns or 0.0 for s in (change.a, change.b))
    return abs(change.delta_ns) if change.delta_ns is not None else longest


def _named(change: Change) -> str:
    if change.found in ("new", "vanished"):
        where = change.b if change.found == "new" else change.a
        of = f"{where.seen} of {where.runs}"
        return f"{change.name} {change.found} ({of}, {duration(where.median_ns)})"
    return f"{change.name} {signed(round(change.delta_ns or 0))}"


def _sentence(changes: Sequence[Change]) -> str:
    whole = next((c for c in changes if c.kind == "total" and c.name == "blackout"), None)
    head = "the blackout is not known of both sets"
    if whole is not None and whole.delta_ns is not None:
        head = f"median blackout {signed(round(whole.delta_ns))} ({whole.found})"
    beyond = [c for c in changes if c.beyond_noise and c.kind != "total"]
    beyond.sort(key=_size, reverse=True)
    if not beyond:
        few = any(c.found == "too few runs" for c in changes)
        return f"{head}: " + ("too few runs to tell more" if few else "nothing beyond noise")
    parts = [_named(c) for c in beyond[:_NAMED]]
    if len(beyond) > _NAMED:
        parts.append(f"{len(beyond) - _NAMED} more")
    return f"{head}: {', '.join(parts)}"


def compare_sets(
    a: Sequence[Run], b: Sequence[Run], names: tuple[str, str] = ("A", "B"), group: str = ""
) -> Comparison:
    """Compare two sets of handovers, each kind of figure a family of tests of its own."""
    changes: list[Change] = []
    for kind in KINDS:
        found = _changes(a, b, kind)
        if kind not in ("total", "phase"):
            found.sort(key=lambda c: (not c.beyond_noise, -_size(c)))
        changes += found
    return Comparison(group, tuple(a), tuple(b), *names, tuple(changes), _sentence(changes))


def by_group(a: Sequence[Run], b: Sequence[Run], by: str) -> list[Comparison]:
    """With ``b``: both sets in each group that both have. Without: each group with the first one.

    ``by`` is one of :data:`GROUPS`; groups are in the order of their names, kernels of versions.
    """
    key = GROUPS[by]
    mine, theirs = _grouped(a, key), _grouped(b, key)
    if theirs:
        common = [name for name in mine if name in theirs]
        return [compare_sets(mine[name], theirs[name], group=name) for name in common]
    first, *others = mine
    return [compare_sets(mine[first], mine[name], (first, name)) for name in others]


def _grouped(runs: Sequence[Run], key: Callable[[Run], str]) -> dict[str, list[Run]]:
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(key(run), []).append(run)
    return dict(sorted(groups.items(), key=lambda item: version_key(item[0])))


def version_key(text: str) -> list[tuple[int, int, str]]:
    """Sorts ``7.10`` after ``7.9``: numbers in a text by their value."""
    words = re.findall(r"[0-9]{1,18}|[^0-9]+", text)
    return [(0, int(word), "") if word[0] in _DIGITS else (1, 0, word) for word in words]
