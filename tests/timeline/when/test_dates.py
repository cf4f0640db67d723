"""Dates as they are written and printed: to the nanosecond, with and without a zone."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.timeline.when.dates import parse_date, utc

MOMENT = 1_795_374_073_700_000_001  # 2026-11-22T19:01:13.700000001Z


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    "text",
    ["2026-11-22T19:01:13.700000001Z", "2026-11-22 19:01:13,700000001 UTC",
     "2026-11-22T20:01:13.700000001+01:00", "2026-11-22 20:01:13.700000001 +0100",
     "2026-11-22T20:01:13.700000001+01", "@1795374073.700000001",
     " 2026-11-22 20:01:13.700000001 "],
)  # fmt: skip
def test_the_same_moment(text: str, berlin: None) -> None:
    assert parse_date(text) == MOMENT


@pytest.mark.parametrize(
    ("text", "meant"),
    [("2026-11-22", "2026-11-21T23:00:00.000000000Z"),
     ("2026-07-01 12:00", "2026-07-01T10:00:00.000000000Z"),
     ("2026-07-01T12:00Z", "2026-07-01T12:00:00.000000000Z"),
     ("2026-07-01T12:00:00.5", "2026-07-01T10:00:00.500000000Z")],
)  # fmt: skip
def test_what_is_left_out(text: str, meant: str, berlin: None) -> None:
    ns = parse_date(text)
    assert ns is not None
    assert utc(ns) == meant


@pytest.mark.parametrize(
    "text", ["", "2026", "20261122", "-5ms", "2026-13-01", "2026-02-30", "2026-11-22T25:00",
             "2026-11-22T19:01.5", "2026-11-22T19", "0000-01-01", "@", "device shutdown"]
)  # fmt: skip
def test_what_is_no_date(text: str) -> None:
    assert parse_date(text) is None


@given(st.integers(0, 250_000_000_000_000_000_000))
def test_what_is_printed_is_read(ns: int) -> None:
    assert parse_date(utc(ns) or "") == ns


@given(st.integers())
def test_every_number_is_a_date_or_none(ns: int) -> None:
    assert utc(ns) is None or isinstance(parse_date(utc(ns) or ""), int | None)


@given(st.text(max_size=40) | st.from_regex(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?([Z+-].*)?"))
def test_any_text_is_a_date_or_none(text: str) -> None:
    assert isinstance(parse_date(text), int | None)
