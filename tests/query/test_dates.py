"""Dates in filters: of each boot's own wall clock."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tracekit
from tests.support.session_trees import make_session, two_cpus
from tracekit.errors import UsageError
from tracekit.query.expr import Compare, Value
from tracekit.query.groups import Index
from tracekit.query.match import Names, matches, read
from tracekit.query.scan import Hits, scan
from tracekit.query.selection import Selection
from tracekit.recording import Recording
from tracekit.timeline.filter import Filter
from tracekit.timeline.when.dates import utc


@pytest.mark.parametrize("quoted", [False, True])
@pytest.mark.parametrize("row", [0, 7_000, 20_000])
def test_a_time_may_be_a_date(
    row: int, quoted: bool, recording: Recording, names: Names, index: Index
) -> None:
    """Of each boot's own wall clock, as ``--from`` and ``--to`` take it."""
    ns, boot = int(recording.axis.ts_ns[row]), int(recording.rows.boot[row])
    date = utc(ns + recording.walls[boot].offset_ns)
    assert date is not None
    written = f'"{date.replace("T", " ")}"' if quoted else date
    everything = Selection(len(recording))
    for op, wanted in ((">=", Filter(since=date)), ("<=", Filter(until=date))):
        expr = read(f"task ~ * and {Compare('ts', op, (Value(date),))}", names)
        assert expr == read(f"task ~ * and ts {op} {written}", names) or quoted
        found = np.flatnonzero(matches(recording, expr, np.arange(len(recording))))
        assert found.tolist() == recording.select(wanted).tolist()
        assert row in found
        hits = Hits()
        for piece in scan(recording, expr, index, everything):
            hits.add(piece.rows)
        assert hits.rows().tolist() == found.tolist()
    both = f"not (ts < {written} or ts > {written})"
    for text in (both, f"ts = {written}", f"ts in (-3s, {written}) and not ts = -3s"):
        hits_of = recording.select(Filter(where=text))
        assert set(recording.axis.ts_ns[hits_of].tolist()) == {ns}


def test_a_date_where_no_wall_clock_is_known(tmp_path: Path) -> None:
    path = make_session(tmp_path, two_cpus())
    with pytest.raises(UsageError, match="what time of day it was in boot 0 is unknown"):
        tracekit.open(path).select(Filter(where="ts > 2026-11-28"))
