"""Whether the kernel trusts the TSC, by its own words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.capture.save.clocksource import best_clock, judge_tsc

OFFERED = ("local", "global", "mono", "x86-tsc")


@pytest.mark.parametrize(
    ("cmdline", "log", "available", "current", "trusted"),
    [
        ("quiet", "", "tsc hpet acpi_pm", "tsc", True),
        ("quiet", "", "tsc-early hpet", "tsc-early", True),
        ("tsc=reliable", "", "tsc hpet", "tsc", True),
        ("tsc=unstable", "", "tsc hpet", "tsc", False),
        ("notsc", "", "hpet acpi_pm", "hpet", False),
        ("", "", "hpet acpi_pm", "", False),
        ("", "", "kvm-clock acpi_pm", "kvm-clock", False),
        ("", "", "kvm-clock tsc acpi_pm", "kvm-clock", None),
        ("clocksource=hpet", "", "tsc hpet acpi_pm", "hpet", None),
        ("", "", "", "", None),
        ("", "tsc: Marking TSC unstable due to check_tsc_sync_source failed", "", "", False),
        ("", "Measured 12 cycles TSC warp between CPUs, turning off TSC clock.", "", "tsc", False),
        ("", "clocksource: 'tsc' is current clocksource.\nTSC found unstable after boot, most "
         "likely due to broken BIOS. Use 'tsc=unstable'.", "", "tsc", False),
        ("", "timekeeping watchdog on CPU3: Marking clocksource 'tsc-early' as unstable because "
         "the skew is too large:", "tsc", "hpet", False),
        ("", "Clocksource tsc unstable (delta = 123 ns)", "", "", False),
        ("", "timekeeping watchdog on CPU3: Marking clocksource 'hpet' as unstable because",
         "tsc", "tsc", True),
        ("", "[Firmware Bug]: TSC ADJUST differs within socket(s), fixing all errors",
         "tsc", "tsc", True),
        ("-- tsc=unstable", "", "tsc", "tsc", True),
    ],
)  # fmt: skip
def test_trust(cmdline: str, log: str, available: str, current: str, trusted: bool | None) -> None:
    found = judge_tsc(cmdline, log, available, current)
    assert found.trusted is trusted
    assert found.why
    assert best_clock(OFFERED, "local", found) == ("mono" if trusted is False else "x86-tsc")


def test_the_clock_where_there_is_no_choice() -> None:
    distrusted, trusted = judge_tsc("notsc", "", "", ""), judge_tsc("", "", "tsc", "tsc")
    assert best_clock(("local", "x86-tsc"), "local", distrusted) == "local"
    assert best_clock(("local", "global"), "global", trusted) == "global"


@given(st.text(max_size=100), st.text(max_size=100), st.text(max_size=40), st.text(max_size=20))
def test_any_text(cmdline: str, log: str, available: str, current: str) -> None:
    assert judge_tsc(cmdline, log, available, current).why
