"""Stretches of time against a plain reckoning, instant by instant."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from tracekit.analysis.stretches import (
    ENDLESS,
    KINDS,
    LOSSES,
    Stretch,
    Stretches,
    layered,
    together,
)

LIMIT = 30
layers = st.lists(
    st.builds(
        lambda start, length, kind, note: Stretch(start, start + length, kind, note),
        st.integers(-LIMIT, LIMIT),
        st.integers(0, LIMIT),
        st.sampled_from(KINDS),
        st.sampled_from(["", "a"]),
    ),
    max_size=12,
)
INSTANTS = range(-LIMIT - 2, 2 * LIMIT + 2)


def kind_at(stretches: Sequence[Stretch], ns: int) -> str:
    return next((s.kind for s in stretches if s.start_ns <= ns < s.end_ns), "quiet")


def in_order(stretches: Sequence[Stretch]) -> bool:
    return all(s.start_ns < s.end_ns for s in stretches) and all(
        a.end_ns <= b.start_ns for a, b in pairwise(stretches)
    )


@given(layers)
def test_later_layers_cover_earlier_ones(of: list[Stretch]) -> None:
    made = layered(of)
    assert in_order(made)
    for ns in INSTANTS:
        assert kind_at(made, ns) == kind_at(of[::-1], ns)
    for a, b in pairwise(made):
        assert a.end_ns < b.start_ns or (a.kind, a.note) != (b.kind, b.note)


@given(st.lists(layers.map(layered), max_size=4))
def test_of_several_cpus_what_is_missing_of_one_is_missing(cpus: list[tuple[Stretch, ...]]) -> None:
    made = together(cpus)
    assert in_order(made)
    for ns in INSTANTS:
        kinds = [kind_at(of, ns) for of in cpus]
        worst = ("unreadable", "overwritten", "unknown", "ended")
        expected = next((kind for kind in worst if kind in kinds), "quiet")
        if kinds and set(kinds) == {"stopped"}:
            expected = "stopped"
        assert kind_at(made, ns) == expected


@given(layers.map(layered), st.integers(-LIMIT, LIMIT))
def test_they_are_found_by_time(of: tuple[Stretch, ...], ns: int) -> None:
    stretches = Stretches(of)
    found = stretches.at(ns)
    assert (found.kind if found else "quiet") == kind_at(of, ns)
    assert stretches.after(ns) == next((s for s in of if s.start_ns >= ns), None)


@example((Stretch(0, 1, "stopped"),), 1, 1, 1)
@given(layers.map(layered), st.integers(-40, 40), st.integers(1, 50), st.integers(1, 40))
def test_cells_show_what_lies_in_them(
    of: tuple[Stretch, ...], start: int, length: int, cells: int
) -> None:
    drawn, short = Stretches(of).cells(start, start + length, cells)
    assert len(drawn) == len(short) == cells
    width = length / cells
    for cell in range(cells):
        inside = [start + (cell + i / 50) * width for i in range(51)]
        kinds = {kind_at(of, int(ns // 1)) for ns in inside}
        code = KINDS[drawn[cell]]
        if len(kinds) == 1:  # the whole cell is of one kind
            assert code in kinds
        assert code == "quiet" or kind_touches(of, code, inside[0], inside[-1])
    for kind in LOSSES:  # however short, they are to be seen
        code = KINDS.index(kind)
        for s in of:
            if s.kind == kind and s.start_ns < start + length and s.end_ns > start:
                first = int((max(s.start_ns, start) - start) / width)
                last = int((min(s.end_ns, start + length) - start) / width) + 1
                near = slice(max(first - 1, 0), last + 1)
                assert (drawn[near] >= code).any() or (short[near] >= code).any()


def kind_touches(of: Sequence[Stretch], kind: str, start: float, end: float) -> bool:
    return any(s.kind == kind and s.start_ns <= end and s.end_ns >= start for s in of)


def test_endless_stretches_fit_any_window() -> None:
    stretches = Stretches([Stretch(-ENDLESS, ENDLESS, "unknown")])
    for start, length in ((0, 40), (-(1 << 61), 1 << 61), (1 << 61, 1)):
        drawn, short = stretches.cells(start, start + length, 7)
        assert drawn.tolist() == [KINDS.index("unknown")] * 7 and not short.any()
        assert stretches.kinds(start, start + length, length / 2) == {"unknown"}


def test_what_is_too_short_to_be_drawn_is_not_named_unless_it_is_a_loss() -> None:
    of = [Stretch(0, 10, "stopped"), Stretch(500, 510, "unreadable"), Stretch(600, 900, "ended")]
    assert Stretches(of).kinds(0, 1000, 20) == {"unreadable", "ended"}
    assert Stretches(of).kinds(0, 1000, 5) == {"stopped", "unreadable", "ended"}
    assert Stretches(of).kinds(20, 400, 5) == set()
