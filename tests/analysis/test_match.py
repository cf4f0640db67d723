"""Matching and nesting on arrays, against walks over the same events one by one."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tracekit.analysis.match import combined, innermost, levels, matched, running

EVENTS = st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=60)


def arrays(events: list[tuple[int, bool]]) -> tuple[np.ndarray, np.ndarray]:
    return (np.array([k for k, _ in events], np.int64), np.array([b for _, b in events], bool))


@given(EVENTS)
def test_a_begin_is_matched_with_the_end_that_follows(events: list[tuple[int, bool]]) -> None:
    open_, pairs, lone = dict[int, int](), set[tuple[int, int]](), set[int]()
    ends = set[int]()
    for n, (key, begins) in enumerate(events):
        if begins:
            lone |= {open_[key]} if key in open_ else set()
            open_[key] = n
        elif key in open_:
            pairs.add((open_.pop(key), n))
        else:
            ends.add(n)
    found = matched(*arrays(events))
    assert set(zip(found.begin.tolist(), found.end.tolist(), strict=True)) == pairs
    assert set(found.lone_ends.tolist()) == ends
    assert set(found.lone_begins.tolist()) == lone | set(open_.values())
    assert set(found.lone_begins[found.last].tolist()) == set(open_.values())


@given(EVENTS)
def test_begun_again_is_the_first(events: list[tuple[int, bool]]) -> None:
    open_, pairs = dict[int, int](), set[tuple[int, int]]()
    for n, (key, begins) in enumerate(events):
        if begins:
            open_.setdefault(key, n)
        elif key in open_:
            pairs.add((open_.pop(key), n))
    found = matched(*arrays(events), first=True)
    assert set(zip(found.begin.tolist(), found.end.tolist(), strict=True)) == pairs


@given(EVENTS)
def test_levels_match_what_is_inside_itself(events: list[tuple[int, bool]]) -> None:
    stacks, pairs = dict[int, list[int]](), set[tuple[int, int]]()
    for n, (key, begins) in enumerate(events):
        if begins:
            stacks.setdefault(key, []).append(n)
        elif stacks.get(key):
            pairs.add((stacks[key].pop(), n))
        else:
            stacks[key] = []
    key, begins = arrays(events)
    found = matched(combined(key, levels(key, begins)), begins)
    mine = set(zip(found.begin.tolist(), found.end.tolist(), strict=True))
    alone = {n for n, (k, b) in enumerate(events) if not b} - {end for _, end in pairs}
    if not alone:  # an end without a begin leaves what comes after it one level down
        assert mine == pairs


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), max_size=40), st.randoms())
def test_the_innermost_is_the_shortest_around_it(
    steps: list[tuple[int, int]], random: object
) -> None:
    """Intervals of a random walk: 0 to 2 open one in that context, 3 closes its last."""
    stacks: dict[int, list[int]] = {}
    spans: list[list[int]] = []
    parents: list[int] = []
    for place, (context, what) in enumerate(steps):
        stack = stacks.setdefault(context, [])
        if what < 3:
            parents.append(stack[-1] if stack else -1)
            stack.append(len(spans))
            spans.append([context, place, 1000])
        elif stack:
            spans[stack.pop()][2] = place
    columns = np.array(spans, np.int64).reshape(-1, 3).T
    order = np.arange(len(spans))[::-1]  # whatever order they come in
    found = innermost(*(column[order] for column in columns))
    assert [(-1 if p < 0 else int(order[p])) for p in found.tolist()] == [parents[i] for i in order]


def test_what_only_overlaps_is_not_inside() -> None:
    context = np.zeros(3, np.int64)
    found = innermost(context, np.array([0, 5, 6]), np.array([10, 20, 8]))
    assert found.tolist()[1] == -1


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-5, 5)), max_size=40))
def test_the_smallest_that_follows(rows: list[tuple[int, int]]) -> None:
    rows.sort(key=lambda row: row[0])
    key, values = (np.array(c, np.int64) for c in zip(*rows, strict=True)) if rows else (
        np.empty(0, np.int64), np.empty(0, np.int64))  # fmt: skip
    wanted = [
        min((v for k, v in rows[n + 1 :] if k == rows[n][0]), default=np.iinfo(np.int64).max)
        for n in range(len(rows))
    ]
    assert running(key, values).tolist() == wanted
