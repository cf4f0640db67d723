"""Budgets: what breaks them, what is too close to call, and the forms for CI."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.sessions.figures import figure, run
from tracekit.errors import ParseError
from tracekit.runs.budget import parse_budget, with_baseline
from tracekit.runs.check import Checked, check, github_lines, junit
from tracekit.runs.run import Run

BUDGET = """\
[limits]
blackout = "1 us"
lost = 0
clock_error = "100 ns"
dma_left = ["ok*"]

[limits.devices]
"nvme*" = "2 us"
sda = "1 us"
"""


def states(budget: str, *runs: Run) -> dict[str, str]:
    return {c.title: c.state for c in check(runs, parse_budget(budget, "b.toml"))}


def held() -> Run:
    return run(figure("total", "blackout", 900), figure("device", "nvme0", 1900),
               figure("device", "sda", 500), dma_left=("ok1",))  # fmt: skip


def test_a_budget_that_is_held() -> None:
    assert set(states(BUDGET, held()).values()) == {"held"}


def test_over_it_by_more_than_the_error_is_broken_by_less_is_close() -> None:
    assert states(BUDGET, run(figure("total", "blackout", 1011)))["blackout"] == "broken"
    assert states(BUDGET, run(figure("total", "blackout", 1010)))["blackout"] == "close"
    assert states(BUDGET, run(figure("total", "blackout", 9999, None)))["blackout"] == "close"


def test_what_was_not_measured_does_not_hold_a_budget() -> None:
    found = states(BUDGET, run(lost=None, clock_error_ns=None, dma_left=None))
    assert found == {
        "blackout": "unknown", "clock_error": "unknown", "lost": "unknown", "device nvme*": "held",
        "device sda": "unknown", "dma_left": "unknown",
    }  # fmt: skip


def test_each_kind_of_limit() -> None:
    broken = run(
        figure("total", "blackout", 1), figure("device", "nvme1", 9000),
        figure("device", "sda", None, finished=False), lost=3, clock_error_ns=101,
        dma_left=("ok1", "bad"),
    )  # fmt: skip
    found = {c.title: c for c in check([broken], parse_budget(BUDGET, "b.toml")) if c.failed}
    assert set(found) == {"device nvme*: nvme1", "device sda", "lost", "clock_error", "dma_left"}
    assert "never returned" in found["device sda"].message
    assert found["dma_left"].message.endswith(": bad")
    assert {title: c.line for title, c in found.items()} == {
        "device nvme*: nvme1": 8, "device sda": 9, "lost": 3, "clock_error": 4, "dma_left": 5,
    }  # fmt: skip


def test_lost_at_least_is_not_known_to_be_held() -> None:
    budget = "[limits]\nlost = 5\n"
    assert states(budget, run(lost=3, lost_at_least=True))["lost"] == "unknown"
    assert states(budget, run(lost=6, lost_at_least=True))["lost"] == "broken"


def baseline(*ns: int) -> str:
    text = with_baseline(None, [run(figure("device", "d", n)) for n in ns], "b.toml")
    return text.replace('least = "1 ms"', 'least = "0 ns"')


@pytest.mark.parametrize(
    ("ns", "state"), [(1050, "held"), (1051, "close"), (1120, "close"), (1121, "broken")]
)
def test_against_a_baseline_spread_and_errors_count(ns: int, state: str) -> None:
    """Median 1000, 5 % tolerated, a run was 50 away, both clocks are 10 off."""
    assert (
        states(baseline(950, 1000, 1010), run(figure("device", "d", ns)))["baseline device d"]
        == state
    )


def test_several_runs_are_held_by_their_median() -> None:
    runs = [run(figure("device", "d", n)) for n in (1000, 1000, 9000)]
    assert states(baseline(1000), *runs)["baseline device d"] == "held"
    assert states(baseline(1000), runs[2])["baseline device d"] == "broken"


def test_a_baseline_keeps_the_limits() -> None:
    before = (
        BUDGET + '\n[baseline]\ntolerance = "9 %"\n[baseline.devices]\n"gone" = '
        "{ runs = 1, median_ns = 1, spread_ns = 0, error_ns = 0 }\n"
    )
    made = parse_budget(with_baseline(before, [held()], "b.toml"), "b.toml")
    assert made.limits == parse_budget(BUDGET, "b.toml").limits
    assert made.tolerance == 0.09
    assert {(b.kind, b.name, b.median_ns) for b in made.baselines} == {
        ("total", "blackout", 900), ("device", "nvme0", 1900), ("device", "sda", 500),
    }  # fmt: skip


@given(st.text(max_size=12), st.integers(0, 1 << 60))
def test_any_name_can_be_in_a_baseline(name: str, ns: int) -> None:
    text = with_baseline(None, [run(figure("device", name, ns))], "b.toml")
    (base,) = parse_budget(text, "b.toml").baselines
    assert base.median_ns == pytest.approx(ns)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("limits = 3", "limits is no table"),
        ("[limits]\nblackout = 3", 'b.toml:2: 3 is no time: write "250 ms"'),
        ("[limits]\n\nblackuot = '3 s'", "b.toml:3: [limits] has no 'blackuot'"),
        ("[limits]\nlost = -1", "b.toml:2: -1 is no count"),
        ("[limits]\ndma_left = 'x'", "b.toml:2: dma_left lists"),
        ("[limits.devices]\nx = true", "b.toml:2: True is no time"),
        ("[baseline]\ntolerance = '5'", "b.toml:2: '5' is no share"),
        ("[baseline.devices]\nx = 3", "b.toml:2: 'x' needs runs"),
        ("[[limits]]\n", "limits is no table"),
        ("x", "not TOML"),
    ],
)
def test_mistakes_are_told_with_their_line(text: str, said: str) -> None:
    with pytest.raises(ParseError) as error:
        parse_budget(text, "b.toml")
    assert said in str(error.value)


@given(st.text(alphabet="[]=\"'#.{}\n abclimtsde0", max_size=60))
def test_no_text_is_more_than_a_mistake(text: str) -> None:
    try:
        parse_budget(text, "b.toml")
    except ParseError as error:
        assert str(error).startswith("b.toml")


def test_junit_and_annotations(tmp_path: Path) -> None:
    checked = [
        Checked("device a*", "s\x1b[1m", "a,b:c\ufffe", "broken", "100 %\nover", 7),
        Checked("lost", "", "lost", "close", "near", 2),
        Checked("gap", "", "gap", "held", "fine", 1),
    ]
    suite = ElementTree.fromstring(junit(checked, "b.toml").encode()).find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures")) == ("3", "1")
    assert [case.find("failure") is not None for case in suite] == [True, False, False]
    assert github_lines(checked, "b:1,2.toml") == [
        "::error file=b%3A1%2C2.toml,line=7,title=tracekit check::"
        "s\\x1b[1m: device a*: a,b:c\ufffe: 100 %25\\nover",
        "::warning file=b%3A1%2C2.toml,line=2,title=tracekit check::lost: near",
    ]
