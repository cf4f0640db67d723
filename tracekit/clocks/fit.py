"""Exact fits of bracketed clock samples: all lines through them that are possible.

A sample is ``{"clock", "tsc_before", "ns", "tsc_after"}``: ``rdtscp``, ``clock_gettime``,
``rdtscp``. At *some* count in ``[tsc_before, tsc_after]`` the clock was in ``[ns, ns + 1)``;
nothing more is known. So instead of a regression, whose error would rest on guesses about the
distribution of the reads inside the brackets, :func:`fit_brackets` computes the set of all lines
``tsc = a + b * ns`` that pass through every bracket, and gives the exact range of ``b``.

All arithmetic is on Python integers and fractions: a count of 1e11 times a reading of 1e18 ns needs
97 bits, a double has 53.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from math import floor, sqrt
from operator import attrgetter, itemgetter
from typing import TypeGuard, TypeVar

from tracekit.clocks.rates import Bent, Rate
from tracekit.errors import Diagnostic
from tracekit.frozen import dataclass

__all__ = [
    "Bracket",
    "LineFit",
    "best_fit",
    "fit_brackets",
    "fit_clock",
    "in_order",
    "read_samples",
]

#: Clocks that show the counter's rate, best first: mono_raw is never slewed by NTP; boot and mono
#: are. The wall clocks are not in the list, because they are also stepped.
_PREFERRED = ("mono_raw", "boot", "mono")
#: Counts and readings are u64 in the kernel.
_U64 = 1 << 64
#: Start of the search: a slope that no 64-bit samples can require.
_STEEPEST = Fraction(_U64)
#: Above this many samples of one clock, only every k-th is used, to bound the time spent on a
#: hostile file; a capture takes 50 to 100.
_MAX_SAMPLES = 4_000
#: This many of the narrowest samples decide which of the others are outliers.
_MAX_CORE = 64
#: At most this share of the samples may be set aside as outliers; if there are more, the clock is
#: not a line. (1/20, because torn or misread samples are rare.)
_MAX_OUTLIER_SHARE = Fraction(1, 20)

_Reading = tuple[int, int, int]  # the fields of a bracket
_Some = TypeVar("_Some")


@dataclass(frozen=True, slots=True)
class Bracket:
    """One sample: the clock was in ``[ns, ns + 1)`` when the counter was in ``[before, after]``."""

    before: int
    ns: int
    after: int


@dataclass(frozen=True, slots=True)
class LineFit:
    """What the samples of one clock say about ``tsc = a + b * ns``.

    ``rate`` holds every possible ``b`` (``None``: the samples do not bound it, as with a single
    one). ``consistent`` is false when no line passes through the samples; ``rate`` is then the
    hull of the rates of all stretches between breaks, and ``brackets`` are those of the last
    stretch, the one next to the jump. ``residual_ns`` is the rms distance of the narrower half of
    the brackets' midpoints from the middle line. ``used``/``rejected`` count samples.
    """

    clock: str
    rate: Rate | None
    consistent: bool
    residual_ns: float | None
    used: int
    rejected: int
    span_ns: int
    brackets: tuple[Bracket, ...]
    diagnostics: tuple[Diagnostic, ...]

    def at(self, ns: int, shape: Bent | None = None) -> tuple[int, int] | None:
        """The counts at which the clock can have shown ``ns``: ``(lowest, highest)``.

        Each bracket allows ``[before, after]`` plus the cycles from its reading to ``ns``, one ns
        more or less because both are cut to whole ns; the true count satisfies all of them. That
        is exact outside the samples' span and an outer bound inside. ``shape`` converts ns to
        cycles, by default the fit's own rate. ``None`` without either, or when the brackets
        contradict the shape.
        """
        if shape is None:
            if self.rate is None:
                return None
            shape = Bent.straight(self.rate)
        lows, highs = [], []
        for bracket in self.brackets:
            lows.append(bracket.before + shape.fewest(bracket.ns + 1, ns))
            highs.append(bracket.after + shape.most(bracket.ns, ns + 1))
        low, high = max(lows), min(highs)
        return (low, high) if low <= high else None


def read_samples(
    samples: Iterable[object], where: str = "clock samples"
) -> tuple[dict[str, tuple[Bracket, ...]], tuple[Diagnostic, ...]]:
    """Check untrusted samples: the good ones by clock in order of reading, and diagnostics.

    Dropped, and counted in one diagnostic per reason: anything that is not a mapping with the four
    keys, counts or readings that are not integers in ``[0, 2**64)``, ``tsc_after < tsc_before``,
    exact duplicates, and samples above the limit.
    """
    good: dict[str, dict[_Reading, None]] = {}
    dropped: dict[str, int] = {}
    for sample in samples:
        reason, clock, reading = _check(sample)
        if reading is None:
            dropped[reason] = dropped.get(reason, 0) + 1
        elif reading in good.setdefault(clock, {}):
            dropped["clock-sample-duplicate"] = dropped.get("clock-sample-duplicate", 0) + 1
        else:
            good[clock][reading] = None
    result = {}
    for clock, readings in good.items():
        ordered = sorted(readings, key=itemgetter(1, 0))
        result[clock] = tuple(Bracket(*reading) for reading in _thinned(ordered))
        if excess := len(readings) - len(result[clock]):
            dropped["clock-sample-excess"] = dropped.get("clock-sample-excess", 0) + excess
    diagnostics = tuple(
        Diagnostic(code, "warning", where, f"{count} clock sample(s) left out: {_REASONS[code]}")
        for code, count in dropped.items()
    )
    return result, diagnostics


def in_order(brackets: Iterable[Bracket]) -> tuple[Bracket, ...]:
    """Brackets of one clock in order of reading, each once, thinned evenly if there are many."""
    ordered = sorted(dict.fromkeys(brackets), key=attrgetter("ns", "before"))
    return tuple(_thinned(ordered))


def _thinned(ordered: Sequence[_Some]) -> Sequence[_Some]:
    return ordered[:: max(1, -(-len(ordered) // _MAX_SAMPLES))]


_REASONS = {
    "clock-sample-malformed": "not {clock, tsc_before, ns, tsc_after}",
    "clock-sample-range": "a count or a reading that no 64-bit clock gives",
    "clock-sample-negative": "the counter is lower after the reading than before it",
    "clock-sample-duplicate": "the same sample again",
    "clock-sample-excess": f"more than {_MAX_SAMPLES} of one clock; they were thinned evenly",
}


def _check(sample: object) -> tuple[str, str, _Reading | None]:
    """One untrusted sample: the reason to drop it, or its clock and what a bracket has."""
    if not isinstance(sample, Mapping):
        return "clock-sample-malformed", "", None
    clock, before = sample.get("clock"), sample.get("tsc_before")
    ns, after = sample.get("ns"), sample.get("tsc_after")
    if not (isinstance(clock, str) and _whole(before) and _whole(ns) and _whole(after)):
        return "clock-sample-malformed", "", None
    if not (0 <= before < _U64 and 0 <= ns < _U64 and 0 <= after < _U64):
        return "clock-sample-range", "", None
    if after < before:
        return "clock-sample-negative", "", None
    return "", clock, (before, ns, after)


def _whole(value: object) -> TypeGuard[int]:
    return type(value) is int  # bool is not


def fit_brackets(
    samples: Iterable[object], clock: str | None = None, where: str = "clock samples"
) -> LineFit | None:
    """Fit the samples of ``clock`` (default: the clock that shows a rate best).

    ``None`` if it has no usable sample. The fit's diagnostics include those about dropped
    samples.
    """
    by_clock, diagnostics = read_samples(samples, where)
    if clock is not None:
        return fit_clock(clock, by_clock.get(clock, ()), where, diagnostics)
    return best_fit(by_clock, where, diagnostics)


def best_fit(
    by_clock: Mapping[str, Sequence[Bracket]], where: str, diagnostics: Iterable[Diagnostic]
) -> LineFit | None:
    """Fit the checked samples of the clock that shows a rate best; ``None`` without any."""
    first = None
    for name in _PREFERRED:
        fit = fit_clock(name, by_clock.get(name, ()), where, diagnostics)
        if fit is not None and fit.rate:
            return fit
        first = first or fit
    return first


def fit_clock(
    clock: str,
    brackets: Sequence[Bracket],
    where: str,
    diagnostics: Iterable[Diagnostic] = (),
) -> LineFit | None:
    """Fit checked samples of one clock, in order of reading; ``None`` without any."""
    if not brackets:
        return None
    notes = list(diagnostics)
    kept, rejected = tuple(brackets), 0
    consistent, rate = _slopes(kept)
    if not consistent:
        kept, rejected = _without_outliers(kept)
        if rejected:
            consistent, rate = _slopes(kept)
            notes.append(
                Diagnostic(
                    "clock-sample-outlier",
                    "warning",
                    where,
                    f"{rejected} sample(s) of {clock} contradict all the others and were set aside",
                )
            )
    used, span = len(kept), kept[-1].ns - kept[0].ns
    if not consistent:
        runs = _runs(kept)
        rates = [r for r in (_slopes(run)[1] for run in runs) if r is not None]
        rate = Rate(min(r.lo for r in rates), max(r.hi for r in rates)) if rates else None
        kept = runs[-1]
        notes.append(
            Diagnostic(
                "clock-not-a-line",
                "warning",
                where,
                f"no single rate fits the samples of {clock}: it was stepped or slewed, or its "
                f"source changed, at least {len(runs) - 1} time(s) between them; the rate given "
                "covers every stretch by itself, and places are counted from the last one",
            )
        )
    if rate is None:
        notes.append(
            Diagnostic(
                "clock-rate-unbounded",
                "info",
                where,
                f"the samples of {clock} do not bound its rate ({used} sample(s) over {span} ns)",
            )
        )
    return LineFit(
        clock, rate, consistent, _residual(kept, rate), used, rejected, span, kept, tuple(notes)
    )


def _slopes(brackets: Sequence[Bracket]) -> tuple[bool, Rate | None]:
    """Whether a line of positive slope fits, and the exact range of such slopes.

    A line passes through a bracket if it is not above ``after`` at ``ns`` and not below ``before``
    at ``ns + 1``. With ``g(b) = min_i(after_i - b*ns_i) - max_j(before_j - b*(ns_j + 1))``, a line
    of slope ``b`` passes through all if and only if ``g(b) >= 0``. ``g`` is a minimum of linear
    functions, hence concave, and Newton's iteration from outside reaches its zeros in finitely many
    exact steps.
    """
    high = _newton(brackets, _STEEPEST, -1)
    low = _newton(brackets, Fraction(0), 1)
    if high is None or low is None:
        return False, None
    return True, (Rate(low, high) if low > 0 and high < _STEEPEST else None)


def _newton(brackets: Sequence[Bracket], start: Fraction, direction: int) -> Fraction | None:
    """First zero of ``g`` (see :func:`_slopes`) from ``start`` on; ``None`` when there is none."""
    slope = start
    while True:
        p, q = slope.numerator, slope.denominator
        ceiling = min(brackets, key=lambda b: (b.after * q - p * b.ns, -direction * b.ns))
        ground = max(brackets, key=lambda b: (b.before * q - p * b.ns, direction * b.ns))
        run = ceiling.ns - ground.ns - 1
        rise = ceiling.after - ground.before
        if rise * q - p * run >= 0:
            return slope
        # The binding pair is the line rise - b*run, negative here. It must grow in `direction`.
        if run * direction >= 0:
            return None
        slope = Fraction(rise, run)
        if slope < 0:
            return None


def _runs(brackets: Sequence[Bracket]) -> list[tuple[Bracket, ...]]:
    """Cut the samples, in order, into as few stretches as possible, each of them a line."""
    runs, start = [], 0
    while start < len(brackets):
        good, bad = start + 1, len(brackets) + 1
        step = 1
        while good + step < bad:  # gallop, then bisect: any part of a line is a line
            if not _slopes(brackets[start : good + step])[0]:
                bad = good + step
                break
            good += step
            step *= 2
        while bad - good > 1:
            middle = (good + bad) // 2
            if middle <= len(brackets) and _slopes(brackets[start:middle])[0]:
                good = middle
            else:
                bad = middle
        runs.append(tuple(brackets[start:good]))
        start = good
    return runs


def _without_outliers(brackets: tuple[Bracket, ...]) -> tuple[tuple[Bracket, ...], int]:
    """Set aside the few samples that contradict all others; unchanged if that does not help.

    The longest stretch that is a line decides. Only samples between fitting ones count as
    outliers: a stretch at either end that does not fit means that the clock changed.
    """
    core = max(_runs(brackets), key=len)
    rate = _slopes(core)[1]
    if rate is None:
        return brackets, 0
    # The narrowest brackets bound best, and any choice of them gives a valid outer bound.
    narrow = tuple(sorted(core, key=_width)[:_MAX_CORE])
    line = LineFit("", rate, True, None, len(narrow), 0, 0, narrow, ())
    keep, misfits = [], []
    for index, bracket in enumerate(brackets):
        low, high = line.at(bracket.ns) or (1, 0)
        if bracket.before <= high and low <= bracket.after:
            keep.append(bracket)
        else:
            misfits.append(index)
    few = 0 < len(misfits) <= floor(len(brackets) * _MAX_OUTLIER_SHARE)
    inside = few and misfits[0] > 0 and misfits[-1] < len(brackets) - 1
    if not inside or not _slopes(keep)[0]:
        return brackets, 0
    return tuple(keep), len(misfits)


def _width(bracket: Bracket) -> int:
    return bracket.after - bracket.before


def _residual(brackets: Sequence[Bracket], rate: Rate | None) -> float | None:
    """Rms distance of the narrower half of the brackets' midpoints from the middle line, ns.

    The midpoint of a wide bracket (a cold cache, a preempted sampler) says nothing about the
    clock: one of 4 ms among a hundred of 8 us would dominate the result.
    """
    if rate is None:
        return None
    origin = brackets[0]
    slope = rate.mid
    p, q = slope.numerator, slope.denominator  # whole numbers: fractions cancel at every step

    def height(bracket: Bracket, count: int) -> int:
        """``q`` times its height over a line of that slope through the origin."""
        return (count - origin.before) * q - p * (bracket.ns - origin.ns)

    middle = min(height(b, b.after) for b in brackets) + max(height(b, b.before) for b in brackets)
    narrow = sorted(brackets, key=_width)[: -(-len(brackets) // 2)]
    twice = (height(b, b.before) + height(b, b.after) - middle for b in narrow)
    squares = sum((apart / (2 * q)) ** 2 for apart in twice)
    return sqrt(squares / len(narrow)) / float(slope)
