"""The tables of a fleet: their columns, and the rows of a handover.

Every row has ``handover``, a number made of the session's fingerprint, which is the same wherever
and whenever the session is added. Times are ns; null is unknown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from tracekit.runs.run import Figure, Run

__all__ = ["FIGURES", "PARTITIONS", "SCHEMA_VERSION", "TABLES", "Tables", "handover_key", "of_runs"]

#: Goes up when a column is removed or means something else.
SCHEMA_VERSION = 1
#: The columns that are folders of the dataset, in order: the kernel entered, and the day (UTC).
PARTITIONS = ("kernel", "date")
UNDATED = "unknown"
_LONGEST = 200  # bytes of the name of a folder

_TEXT = pa.string()
_NS = pa.int64()
_FIGURE = [("handover", pa.int64()), ("name", _TEXT), ("start_ns", _NS), ("duration_ns", _NS),
           ("error_ns", _NS)]  # fmt: skip
#: Table -> its columns, without the partitions.
TABLES: Mapping[str, pa.Schema] = {
    "handovers": pa.schema([
        ("handover", pa.int64()), ("session", _TEXT), ("number", pa.int32()), ("path", _TEXT),
        ("time", _TEXT), ("host", _TEXT), ("host_type", _TEXT), ("old_kernel", _TEXT),
        ("way", _TEXT), ("started_by", _TEXT), ("clock", _TEXT), ("clock_error_ns", _NS),
        ("blackout_ns", _NS), ("blackout_error_ns", _NS), ("gap_ns", _NS), ("gap_error_ns", _NS),
        ("jump_seen", pa.bool_()), ("verdict", _TEXT), ("dma_left", pa.list_(_TEXT)),
    ]),
    "phases": pa.schema([*_FIGURE, ("place", pa.int32())]),
    "devices": pa.schema([*_FIGURE, ("driver", _TEXT), ("calls", pa.int32()),
                          ("finished", pa.bool_())]),
    "initcalls": pa.schema([*_FIGURE, ("level", _TEXT), ("calls", pa.int32())]),
    "units": pa.schema([*_FIGURE]),
    "losses": pa.schema([
        ("handover", pa.int64()), ("events", _NS), ("lost", _NS), ("lost_at_least", pa.bool_()),
        ("unreadable", _NS), ("undecodable", _NS),
    ]),
    "remarks": pa.schema([
        ("handover", pa.int64()), ("code", _TEXT), ("severity", _TEXT), ("where", _TEXT),
        ("message", _TEXT),
    ]),
    # what "slowest" asks, added up for each file of rows, so that it need not be read
    "sums": pa.schema([
        ("kind", _TEXT), ("name", _TEXT), ("handovers", _NS), ("timed", _NS), ("total_ns", _NS),
        ("longest_ns", _NS), ("worst", pa.int64()),
    ]),
    "events": pa.schema([
        ("handover", pa.int64()), ("ts_ns", _NS), ("boot", pa.uint8()), ("cpu", pa.uint16()),
        ("pid", pa.int32()), ("comm", _TEXT), ("event", _TEXT), ("args", _TEXT),
    ]),
}  # fmt: skip
#: The table of each kind of figure.
FIGURES: Mapping[str, str] = {
    "phase": "phases", "device": "devices", "initcall": "initcalls", "unit": "units",
}  # fmt: skip

#: Table -> rows, all of one kernel and day.
Tables = dict[str, pa.Table]


def handover_key(fingerprint: str, number: int) -> int:
    """What a handover is called in the tables: the same for the same recording, spread evenly."""
    digest = hashlib.sha256(f"{fingerprint} {number}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def folder_of(kernel: str) -> str:
    """A release as it names a folder: one that file systems take."""
    text = _plain(kernel) or "unknown"
    while len(quote(text, safe="")) > _LONGEST:
        text = text[:-1]
    return text


def _date(run: Run) -> str:
    return run.time[:10] if run.time else UNDATED


def _plain(text: str) -> str:
    """What Arrow takes: no lone surrogates."""
    return text.encode("utf-8", "backslashreplace").decode()


def _handover(run: Run, key: int) -> dict[str, Any]:
    blackout, gap = run.figure("total", "blackout"), run.figure("total", "gap")
    return {
        "handover": key, "session": run.fingerprint, "number": run.number,
        "path": _plain(run.session), "time": run.time, "host": _plain(run.host),
        "host_type": _plain(run.host_type), "old_kernel": _plain(run.old_kernel), "way": run.way,
        "started_by": _plain(run.started_by), "clock": run.clock,
        "clock_error_ns": run.clock_error_ns,
        "blackout_ns": blackout.ns if blackout else None,
        "blackout_error_ns": blackout.error_ns if blackout else None,
        "gap_ns": gap.ns if gap else None, "gap_error_ns": gap.error_ns if gap else None,
        "jump_seen": run.jump_seen, "verdict": run.verdict,
        "dma_left": None if run.dma_left is None else [_plain(name) for name in run.dma_left],
    }  # fmt: skip


def _figure_row(figure: Figure, key: int, place: int) -> dict[str, Any]:
    row: dict[str, Any] = {
        "handover": key, "name": _plain(figure.name), "start_ns": figure.start_ns,
        "duration_ns": figure.ns, "error_ns": figure.error_ns,
    }  # fmt: skip
    if figure.kind == "phase":
        row["place"] = place
    elif figure.kind == "device":
        row |= {"driver": _plain(figure.detail), "calls": figure.count, "finished": figure.finished}
    elif figure.kind == "initcall":
        row |= {"level": _plain(figure.detail), "calls": figure.count}
    return row


def _rows(run: Run, key: int) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "handovers", _handover(run, key)
    for place, figure in enumerate(run.figures):
        if figure.kind in FIGURES:
            yield FIGURES[figure.kind], _figure_row(figure, key, place)
    yield "losses", {
        "handover": key, "events": run.events, "lost": run.lost,
        "lost_at_least": run.lost_at_least, "unreadable": run.unreadable,
        "undecodable": run.undecodable,
    }  # fmt: skip
    for remark in run.remarks:
        yield "remarks", {"handover": key} | {k: _plain(v) for k, v in remark.as_dict().items()}


def of_runs(runs: Iterable[Run]) -> dict[tuple[str, str], Tables]:
    """The rows of handovers, by (kernel, date)."""
    rows: dict[tuple[str, str], dict[str, list[dict[str, Any]]]] = {}
    for run in runs:
        here = rows.setdefault((folder_of(run.kernel), _date(run)), {})
        for table, row in _rows(run, handover_key(run.fingerprint, run.number)):
            here.setdefault(table, []).append(row)
    return {
        where: {t: pa.Table.from_pylist(many, schema=TABLES[t]) for t, many in tables.items()}
        for where, tables in rows.items()
    }


def joined(parts: Sequence[Tables]) -> Tables:
    """Tables of one partition, one after the other, sorted by handover."""
    names = [name for name in TABLES if any(name in part for part in parts)]
    whole = {n: pa.concat_tables([part[n] for part in parts if n in part]) for n in names}
    return {name: _sorted(table) for name, table in whole.items()}


def _sorted(table: pa.Table) -> pa.Table:
    """By handover, so that a range of them is in few row groups; rows of one stay in order."""
    place = pa.array(range(len(table)), pa.int64())
    numbered = table.append_column("", place)
    return numbered.sort_by([("handover", "ascending"), ("", "ascending")]).drop_columns([""])


def sums_of(tables: Tables) -> pa.Table:
    """The table ``sums`` of these rows."""
    made = [_sums(kind, tables[name]) for kind, name in FIGURES.items() if name in tables]
    return pa.concat_tables([TABLES["sums"].empty_table(), *made])


def _sums(kind: str, table: pa.Table) -> pa.Table:
    import pyarrow.compute as pc

    grouped = table.group_by("name").aggregate([
        ("handover", "count"), ("duration_ns", "count"), ("duration_ns", "sum"),
        ("duration_ns", "max"),
    ])  # fmt: skip
    longest = table.join(grouped.select(["name", "duration_ns_max"]), "name", join_type="inner")
    at = longest.filter(pc.equal(longest["duration_ns"], longest["duration_ns_max"]))
    worst = at.group_by("name").aggregate([("handover", "min")])
    whole = grouped.join(worst, "name", join_type="left outer")
    columns = {
        "kind": pa.array([kind] * len(whole), _TEXT), "name": whole["name"],
        "handovers": whole["handover_count"], "timed": whole["duration_ns_count"],
        "total_ns": whole["duration_ns_sum"], "longest_ns": whole["duration_ns_max"],
        "worst": whole["handover_min"],
    }  # fmt: skip
    return pa.table(columns).cast(TABLES["sums"])
