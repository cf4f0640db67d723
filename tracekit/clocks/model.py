"""Clock models, which convert raw stamps to the session's axis with an error bound."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

from tracekit.clocks.counter_rate import SessionRate
from tracekit.errors import Diagnostic
from tracekit.frozen import dataclass

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["UNITS", "UNKNOWN", "ClockModel", "Gap", "SessionClock", "Unit", "total"]

Unit = Literal["ns", "cycles", "ticks", "count"]
UNKNOWN = "unknown"  #: the clock of a buffer of which nothing says what stamped it

#: The units of trace clocks (``kernel/trace/trace.c``, ``trace_clocks[].in_ns``, and
#: ``kernel/trace/trace_clock.c``): ``uptime`` counts USER_HZ, ``counter`` counts calls. Stamps of
#: a clock that nothing tells give an order, as counts do.
UNITS: Mapping[str, Unit] = {
    "x86-tsc": "cycles",
    "uptime": "ticks",
    "counter": "count",
    UNKNOWN: "count",
    **dict.fromkeys(("local", "global", "perf", "mono", "mono_raw", "boot", "tai"), "ns"),
}
_INT64_MAX = (1 << 63) - 1
#: Stamps are split into a high part and this many low bits before they are scaled.
_SPLIT_BITS = 32


@dataclass(frozen=True, slots=True)
class ClockModel:
    """How one boot's raw stamps become ns on the session's axis, and how precise that is.

    ``t = offset_ns + (raw - ref_raw) * ns_per_unit``. ``ns_per_unit`` is exact; ``unit`` is that
    of raw stamps. ``cycles_per_ns`` and its bounds describe the counter (``None`` where it plays
    no part). ``residual_ns``: rms of this boot's samples about their line. ``error_ns``: bound on
    the error of this boot's events relative to the jump, ``None`` if there is none.
    ``relative_error``: bound on the relative error of a duration within this boot, to which
    ``constant_error_ns`` is added once. Stamps below ``loose_raw`` are from before the clock had a
    real source; they may be up to ``loose_ns`` earlier than they say, ``None`` if that is unknown.
    """

    boot: int
    trace_clock: str
    unit: Unit
    method: str
    ref_raw: int
    offset_ns: int
    ns_per_unit: Fraction
    relative_error: Fraction | None
    constant_error_ns: int
    error_ns: int | None = None
    loose_raw: int = 0
    loose_ns: int | None = 0
    cycles_per_ns: float | None = None
    cycles_per_ns_lo: float | None = None
    cycles_per_ns_hi: float | None = None
    residual_ns: float | None = None

    def ns(self, raw: int) -> int:
        """One stamp on the session's axis, exact except for rounding to the nearest ns."""
        return self.offset_ns + round((raw - self.ref_raw) * self.ns_per_unit)

    def to_ns(self, raw: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Stamps (uint64 or int64) on the session's axis (int64), within 1 ns of :meth:`ns`.

        The difference to the reference is taken in integers first. It is split as
        ``high * 2**32 + low``; the whole ns of ``2**32`` units times ``high`` is integer
        arithmetic, and floats only see ``high`` times a fraction below 1 (below ``2**31``) and
        ``low`` scaled (below ``2**32`` units): both well within the 53 bits of a double. Results
        outside int64 become its smallest or largest value.
        """
        import numpy as np

        if not len(raw):
            return np.empty(0, np.int64)
        delta = (raw.astype(np.uint64) - np.uint64(self.ref_raw % (1 << 64))).view(np.int64)
        ends = (self.ns(self.ref_raw + int(end)) for end in (delta.min(), delta.max()))
        inside = max(*map(abs, ends), abs(self.offset_ns)) <= _INT64_MAX // 2
        if inside and self.ns_per_unit == 1:
            return delta + np.int64(self.offset_ns)
        chunk = self.ns_per_unit * (1 << _SPLIT_BITS)
        whole = chunk.numerator // chunk.denominator
        high = delta >> _SPLIT_BITS
        low = delta & ((1 << _SPLIT_BITS) - 1)
        small = np.rint(high * float(chunk - whole) + low * float(self.ns_per_unit))
        offset = min(max(self.offset_ns, -_INT64_MAX), _INT64_MAX)
        ns = high * np.int64(whole) + small.astype(np.int64) + np.int64(offset)
        if inside:
            return ns
        rough = delta * float(self.ns_per_unit) + float(offset)
        limits = np.where(rough < 0, -_INT64_MAX - 1, _INT64_MAX)
        return np.where(np.abs(rough) >= float(_INT64_MAX), limits, ns)

    def duration_error(self, units: int) -> int | None:
        """Error bound in ns of a duration within this boot; ``units`` are those of raw stamps."""
        if self.relative_error is None:
            return None
        rate, share = self.ns_per_unit, self.relative_error
        below = rate.denominator * share.denominator  # in whole numbers: fractions cancel each time
        return -(-abs(units) * rate.numerator * share.numerator // below) + self.constant_error_ns

    def early_by(self, raw: int) -> int | None:
        """How much earlier, in ns, than it says a stamp may be from; ``None`` if unknown."""
        return self.loose_ns if raw < self.loose_raw else 0


@dataclass(frozen=True, slots=True)
class Gap:
    """The time from the last event of ``boot`` to the first of ``boot + 1``.

    ``ns`` is what the axis uses. ``earliest_ns``/``latest_ns`` bound it (``None``: unbounded);
    ``common`` is true when both clocks are related through a counter that runs on. ``loose_ns`` of
    the uncertainty are those of the first events alone, of a clock that had no real source yet.
    """

    boot: int
    ns: int
    earliest_ns: int
    latest_ns: int | None
    common: bool
    method: str
    loose_ns: int = 0

    @property
    def placing_error_ns(self) -> int | None:
        """As :attr:`error_ns`, of the new boot's events from when its clock had a source."""
        if self.latest_ns is None:
            return None
        return max(self.ns - self.earliest_ns - self.loose_ns, self.latest_ns - self.ns)

    @property
    def error_ns(self) -> int | None:
        """The larger distance from ``ns`` to a bound."""
        if self.latest_ns is None:
            return None
        return max(self.ns - self.earliest_ns, self.latest_ns - self.ns)


@dataclass(frozen=True, slots=True)
class SessionClock:
    """All boots on one axis. ``common``: every handover in it has a common clock."""

    origin_boot: int
    origin_raw: int
    models: tuple[ClockModel, ...]
    gaps: tuple[Gap, ...]
    common: bool
    rate: SessionRate | None
    diagnostics: tuple[Diagnostic, ...]

    def model(self, boot: int) -> ClockModel:
        """The model of the boot with that index."""
        return next(m for m in self.models if m.boot == boot)

    def interval(self, boot_a: int, raw_a: int, boot_b: int, raw_b: int) -> tuple[int, int | None]:
        """Time from one event to another, ns, and its error bound (``None``: unbounded)."""
        a, b = self.model(boot_a), self.model(boot_b)
        parts = [a.early_by(raw_a), b.early_by(raw_b)]
        if a.unit == b.unit and a.ref_raw == b.ref_raw and a.offset_ns == b.offset_ns:
            # One axis in raw units: the difference is exact before scaling.
            ns = round((raw_b - raw_a) * a.ns_per_unit)
            return ns, total((*parts, a.duration_error(raw_b - raw_a)))
        ns = b.ns(raw_b) - a.ns(raw_a)
        parts += [a.duration_error(raw_a - a.ref_raw), b.duration_error(raw_b - b.ref_raw)]
        parts += [
            gap.placing_error_ns
            for gap in self.gaps
            if min(boot_a, boot_b) <= gap.boot < max(boot_a, boot_b)
        ]
        return ns, total(parts)


def total(parts: Iterable[int | None]) -> int | None:
    """The sum of error bounds; ``None`` if one of them is not known."""
    known = list(parts)
    return None if None in known else sum(part or 0 for part in known)
