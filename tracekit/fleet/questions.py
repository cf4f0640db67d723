"""What ``fleet report`` asks: each question one function, its answer a list of rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tracekit.fleet.ask import Fleet
from tracekit.runs.sets import version_key

__all__ = ["QUESTIONS", "Row", "outliers", "percentiles", "slowest", "totals"]

Row = dict[str, Any]
_SLOWEST = 20  # names that are told of
_QUANTILES = "quantile_cont({0}, [0.5, 0.9, 0.99])"
_P = ("p50_ns", "p90_ns", "p99_ns")


def _unpacked(rows: list[Row]) -> list[Row]:
    """The quantiles as columns of their own."""
    for row in rows:
        values = row.pop("q") or [None] * len(_P)
        row.update(zip(_P, values, strict=True))
    return rows


def overview(fleet: Fleet) -> list[Row]:
    """How many handovers, hosts and days, in all and by kernel."""
    return fleet.rows(
        "SELECT kernel, count(*) AS handovers, count(DISTINCT host) AS hosts, "
        "count(DISTINCT host_type) AS host_types, list(DISTINCT clock ORDER BY clock) AS clocks, "
        "min(date) AS first, max(date) AS last "
        "FROM handovers GROUP BY ROLLUP (kernel) ORDER BY kernel NULLS FIRST"
    )


def totals(fleet: Fleet) -> list[Row]:
    """Blackout and gap by kernel; kernel null is all of them."""
    return _unpacked(fleet.rows(
        "SELECT name, kernel, count(*) AS handovers, count(ns) AS timed, "
        f"{_QUANTILES.format('ns')} AS q, max(ns) AS longest_ns, "
        "arg_max(handover, ns) AS worst, max(error_ns) AS error_ns "
        "FROM (SELECT 'blackout' AS name, kernel, handover, blackout_ns AS ns, "
        "blackout_error_ns AS error_ns FROM handovers UNION ALL "
        "SELECT 'gap', kernel, handover, gap_ns, gap_error_ns FROM handovers) "
        "GROUP BY GROUPING SETS ((name), (name, kernel)) ORDER BY name, kernel NULLS FIRST"
    ))  # fmt: skip


def percentiles(fleet: Fleet) -> list[Row]:
    """Every phase by kernel, in the order of time."""
    rows = _unpacked(fleet.rows(
        "SELECT name, kernel, count(*) AS handovers, count(duration_ns) AS timed, "
        f"{_QUANTILES.format('duration_ns')} AS q, max(duration_ns) AS longest_ns, "
        "arg_max(handover, duration_ns) AS worst, max(error_ns) AS error_ns, "
        "median(place) AS place FROM phases GROUP BY name, kernel"
    ))  # fmt: skip
    first: dict[str, float] = {}
    for row in rows:
        first[row["name"]] = min(row["place"], first.get(row["name"], row["place"]))
    rows.sort(key=lambda r: (first[r["name"]], r["name"], version_key(r["kernel"])))
    for row in rows:
        del row["place"]
    return rows


def slowest(fleet: Fleet, kind: str, table: str) -> list[Row]:
    """The names that take most on average, their percentiles, and the handover of the longest."""
    names = fleet.rows(
        "SELECT name, sum(handovers)::BIGINT AS handovers, sum(timed)::BIGINT AS timed, "
        "(sum(total_ns) / sum(timed))::DOUBLE AS mean_ns, max(longest_ns) AS longest_ns, "
        "arg_max(worst, longest_ns) AS worst FROM sums WHERE kind = ? GROUP BY name "
        "ORDER BY sum(timed) = sum(handovers), mean_ns DESC NULLS LAST, name LIMIT ?",
        [kind, _SLOWEST],
    )
    quantiles = {
        row["name"]: row for row in _unpacked(fleet.rows(
            f"SELECT name, {_QUANTILES.format('duration_ns')} AS q FROM {table} "
            "WHERE name IN (SELECT unnest(?)) GROUP BY name", [[row["name"] for row in names]],
        ))
    }  # fmt: skip
    return [{**row, **quantiles[row["name"]]} for row in names]


def trends(fleet: Fleet) -> list[Row]:
    """The blackout by kernel and day."""
    return _unpacked(fleet.rows(
        "SELECT kernel, date, count(*) AS handovers, count(blackout_ns) AS timed, "
        f"{_QUANTILES.format('blackout_ns')} AS q FROM handovers "
        "GROUP BY kernel, date ORDER BY kernel, date"
    ))  # fmt: skip


def losses(fleet: Fleet) -> list[Row]:
    """What may be said of the records, by kernel and clock."""
    return fleet.rows(
        "SELECT kernel, clock, count(*) AS handovers, "
        "count(*) FILTER (verdict = 'complete') AS complete, "
        "count(*) FILTER (verdict = 'no loss seen') AS no_loss_seen, "
        "count(*) FILTER (verdict = 'incomplete') AS incomplete, "
        "count(*) FILTER (lost IS NULL) AS lost_unknown, sum(events)::BIGINT AS events, "
        "sum(lost)::BIGINT AS lost, sum(unreadable)::BIGINT AS unreadable, "
        "sum(undecodable)::BIGINT AS undecodable, max(clock_error_ns) AS clock_error_ns "
        "FROM handovers JOIN losses USING (handover, kernel, date) "
        "GROUP BY kernel, clock ORDER BY kernel, clock"
    )


def dma(fleet: Fleet) -> list[Row]:
    """Devices that could still do DMA after their shutdown."""
    return fleet.rows(
        "SELECT name, count(*) AS handovers, count(DISTINCT host) AS hosts FROM "
        "(SELECT host, unnest(dma_left) AS name FROM handovers) GROUP BY name "
        "ORDER BY handovers DESC, name LIMIT 20"
    )


def remarks(fleet: Fleet) -> list[Row]:
    """What was remarked on in how many handovers."""
    return fleet.rows(
        "SELECT severity, code, count(DISTINCT handover) AS handovers FROM remarks "
        "WHERE severity <> 'info' GROUP BY severity, code ORDER BY handovers DESC, code LIMIT 20"
    )


#: Name in ``--json`` -> the question.
QUESTIONS: Mapping[str, Callable[[Fleet], list[Row]]] = {
    "overview": overview,
    "totals": totals,
    "phases": percentiles,
    "devices": lambda fleet: slowest(fleet, "device", "devices"),
    "initcalls": lambda fleet: slowest(fleet, "initcall", "initcalls"),
    "units": lambda fleet: slowest(fleet, "unit", "units"),
    "trends": trends,
    "losses": losses,
    "dma_left": dma,
    "remarks": remarks,
}


_BINS = 200  # of the histogram


def outliers(fleet: Fleet, most: int = 200) -> tuple[list[int], int, int, list[Row]]:
    """(how many blackouts in each of equal steps, the least, the longest, those farthest out).

    ``away``: from the median of the kernel, in distances between its quartiles.
    """
    (ends,) = fleet.rows("SELECT min(blackout_ns) AS a, max(blackout_ns) AS b FROM handovers")
    if ends["a"] is None:
        return [], 0, 0, []
    width = max(1, ends["b"] - ends["a"])
    counted = fleet.rows(
        "SELECT least(((blackout_ns - ?) * ? / ?)::BIGINT, ? - 1) AS bin, count(*) AS n "
        "FROM handovers WHERE blackout_ns IS NOT NULL GROUP BY bin",
        [ends["a"], float(_BINS), width, _BINS],
    )
    counts = [0] * _BINS
    for row in counted:
        counts[row["bin"]] = row["n"]
    rows = fleet.rows(
        "SELECT h.blackout_ns, abs(h.blackout_ns - q[2]) / greatest(q[3] - q[1], 1) AS away, "
        "h.kernel, host, date, clock, verdict, path FROM handovers h JOIN "
        "(SELECT kernel, quantile_cont(blackout_ns, [0.25, 0.5, 0.75]) AS q FROM handovers "
        "GROUP BY kernel) k ON h.kernel = k.kernel WHERE h.blackout_ns IS NOT NULL "
        "ORDER BY away DESC, h.handover LIMIT ?", [most],
    )  # fmt: skip
    return counts, ends["a"], ends["b"], rows
