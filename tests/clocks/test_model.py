"""From raw stamps to nanoseconds, exactly."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.clock_sim import FIRST, JUMP
from tracekit.clocks.model import ClockModel


def model(**changes: Any) -> ClockModel:
    plain = ClockModel(0, "x86-tsc", "cycles", "", 0, 0, Fraction(1), Fraction(0), 0)
    return replace(plain, **changes)


@given(
    st.fractions(Fraction(1, 100), Fraction(1000), max_denominator=10**18),
    st.integers(0, 2**64 - 1),
    st.integers(-(10**18), 10**18),
    st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=50),
)
@settings(deadline=None)
def test_vectors_agree_with_fractions(
    scale: Fraction, ref: int, offset: int, raws: list[int]
) -> None:
    clock = model(ns_per_unit=scale, ref_raw=ref, offset_ns=offset)
    for raw, ns in zip(raws, clock.to_ns(np.array(raws, np.uint64)).tolist(), strict=True):
        if not -(2**63) <= raw - ref < 2**63:
            continue  # no clock runs for 2**63 cycles; the difference wraps
        exact = offset + (raw - ref) * scale
        limited = min(max(exact, -(2**63)), 2**63 - 1)
        # next to the ends of int64 it is a matter of rounding where the limit takes effect
        at_limit = abs(exact) > 2**63 - 2**12 and abs(ns) >= 2**63 - 2**13
        assert abs(ns - limited) < 1 or at_limit
        assert abs(clock.ns(raw) - exact) <= Fraction(1, 2)


def test_hours_of_cycles_to_the_nanosecond() -> None:
    rate = Fraction(2_445_430_267, 10**9)
    clock = model(ns_per_unit=1 / rate, ref_raw=JUMP)
    day = 86_400 * 2_445_430_267
    clock = replace(clock, ref_raw=JUMP + 50 * day)
    raws = np.array([JUMP, JUMP + 1, JUMP - 1, JUMP + day, JUMP + 99 * day, FIRST], np.uint64)
    exact = [(int(raw) - JUMP - 50 * day) / rate for raw in raws]
    assert [round(e) for e in exact] == clock.to_ns(raws).tolist()
    assert clock.to_ns(raws.astype(np.int64)).dtype == np.int64


def test_conversion_keeps_order() -> None:
    clock = model(ns_per_unit=Fraction(1000, 2445), ref_raw=2**40)
    raws = np.arange(2**40 - 5000, 2**40 + 5000, dtype=np.uint64)
    assert bool(np.all(np.diff(clock.to_ns(raws)) >= 0))


def test_numpy_is_not_imported_with_the_module() -> None:
    import subprocess
    import sys

    code = (
        "import sys; import tracekit.clocks.model, tracekit.clocks.boot_zero;"
        "sys.exit('numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
