"""Two handovers beside each other: what differs, and by more than the clocks may be off."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Literal

from tracekit.frozen import dataclass
from tracekit.runs.run import KINDS, Figure, Kind, Run
from tracekit.text import duration, error_bound

__all__ = ["Difference", "Judged", "Pair", "compare", "signed"]

#: ``error unknown``: nothing bounds the error of one of the clocks, so nothing can be said.
Judged = Literal[
    "more", "less", "within error", "error unknown", "unknown", "only in A", "only in B"
]
_NAMED = 4  # phases that the sentence names


@dataclass(frozen=True, slots=True)
class Difference:
    """One name in both runs; ``delta_ns`` is B less A, ``error_ns`` the sum of both errors."""

    kind: Kind
    name: str
    detail: str
    a: Figure | None
    b: Figure | None
    delta_ns: int | None
    error_ns: int | None
    judged: Judged

    @property
    def sure(self) -> bool:
        """Whether the runs differ here, whatever the clocks' errors."""
        return self.judged not in ("within error", "error unknown", "unknown")

    @property
    def longest_ns(self) -> int:
        """The longer of the two."""
        return max((f.ns or 0 for f in (self.a, self.b) if f is not None), default=0)

    def as_dict(self) -> dict[str, Any]:
        """The ``--json`` form."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two runs; ``differences`` of each kind in the order of time, then by what differs most."""

    a: Run
    b: Run
    differences: tuple[Difference, ...]
    sentence: str

    def of(self, kind: Kind) -> list[Difference]:
        """The differences of one kind."""
        return [d for d in self.differences if d.kind == kind]

    def as_dict(self) -> dict[str, Any]:
        """The ``--json`` form."""
        return {
            "a": self.a.as_dict(),
            "b": self.b.as_dict(),
            "differences": [d.as_dict() for d in self.differences],
            "sentence": self.sentence,
        }


def signed(ns: int | None) -> str:
    """``+1.38 s``, ``-4.2 ms``."""
    return duration(ns) if ns is None else f"{'-' if ns < 0 else '+'}{duration(abs(ns))}"


def _judge(a: Figure | None, b: Figure | None) -> tuple[int | None, int | None, Judged]:
    if a is None or b is None:
        return None, None, "only in A" if b is None else "only in B"
    if a.ns is None or b.ns is None:
        return None, None, "unknown"
    delta = b.ns - a.ns
    if a.error_ns is None or b.error_ns is None:
        return delta, None, "error unknown"
    error = a.error_ns + b.error_ns
    if abs(delta) <= error:
        return delta, error, "within error"
    return delta, error, "more" if delta > 0 else "less"


def _observed(figures: Sequence[Figure]) -> dict[str, Figure]:
    """By name; a phase that was not observed is not there: its time is part of another one."""
    return {f.name: f for f in figures if f.kind != "phase" or f.ns is not None}


def _merged(a: Sequence[str], b: Sequence[str]) -> list[str]:
    """Both orders as one: names of ``b`` alone come after what they follow there."""
    names = list(a)
    for place, name in enumerate(b):
        if name not in names:
            before = next((n for n in reversed(b[:place]) if n in names), None)
            names.insert(0 if before is None else names.index(before) + 1, name)
    return names


def _of_kind(a: Run, b: Run, kind: Kind) -> Iterator[Difference]:
    mine, theirs = (_observed([f for f in run.figures if f.kind == kind]) for run in (a, b))
    for name in _merged(list(mine), list(theirs)):
        one, other = mine.get(name), theirs.get(name)
        detail = next((f.detail for f in (other, one) if f is not None), "")
        yield Difference(kind, name, detail, one, other, *_judge(one, other))


def _size(d: Difference) -> int:
    return abs(d.delta_ns) if d.delta_ns is not None else d.longest_ns


def _parts(differences: Sequence[Difference]) -> list[str]:
    """What the blackout's difference is made of, the largest first."""
    phases = [d for d in differences if d.kind == "phase"]
    sure = sorted((d for d in phases if d.judged in ("more", "less")), key=_size, reverse=True)
    parts = [f"{d.name} {signed(d.delta_ns)}" for d in sure[:_NAMED]]
    if len(sure) > _NAMED:
        parts.append(f"{len(sure) - _NAMED} more phases {signed(_sum(sure[_NAMED:]))}")
    lone = [d for d in phases if d.judged in ("only in A", "only in B")]
    parts += [f"{d.name} {d.judged} ({duration(d.longest_ns)})" for d in lone[:_NAMED]]
    if not parts and any(d.judged == "error unknown" for d in phases):
        parts.append("no phase's error is bounded, so none can be blamed")
    return parts


def _sum(differences: Sequence[Difference]) -> int:
    return sum(d.delta_ns or 0 for d in differences)


def _sentence(differences: Sequence[Difference]) -> str:
    whole = next(d for d in differences if d.kind == "total" and d.name == "blackout")
    what = "blackout"
    if whole.delta_ns is None:
        gap = next(d for d in differences if d.kind == "total" and d.name == "gap")
        if gap.delta_ns is None:
            return "neither blackout nor gap is known of both, so the totals cannot be compared"
        whole, what = gap, "the blackout is not known of both; gap"
    bound = error_bound(whole.error_ns)
    if whole.judged == "within error":
        head = f"{what}: no difference beyond the clocks' errors ({signed(whole.delta_ns)} {bound})"
    elif whole.judged == "error unknown":
        head = f"{what} {signed(whole.delta_ns)}, its error is not known"
    elif what == "blackout":
        head = f"{signed(whole.delta_ns)} {bound}"
    else:
        head = f"{what} {signed(whole.delta_ns)} {bound}"
    parts = _parts(_inside(differences))
    return f"{head}: {', '.join(parts)}" if parts else head


def _inside(differences: Sequence[Difference]) -> list[Difference]:
    """Without the phases that are not part of the blackout: loading, systemd."""
    return [
        d for d in differences
        if d.kind != "phase" or not d.name.startswith(("kexec load", "systemd"))
    ]  # fmt: skip


def compare(a: Run, b: Run) -> Pair:
    """Lay two handovers beside each other, by name; times count from the jump in both."""
    differences: list[Difference] = []
    for kind in KINDS:
        found = list(_of_kind(a, b, kind))
        if kind not in ("total", "phase"):
            found.sort(key=lambda d: (not d.sure, -_size(d)))
        differences += found
    return Pair(a, b, tuple(differences), _sentence(differences))
