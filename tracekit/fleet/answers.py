"""A fleet's report: all answers together, as JSON and as one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tracekit.drawing.markup import Markup, joined, tag
from tracekit.fleet.ask import Fleet
from tracekit.fleet.questions import QUESTIONS, Row
from tracekit.fleet.suspects import Suspect, suspects
from tracekit.frozen import dataclass
from tracekit.runs.pair import signed
from tracekit.text import duration

__all__ = ["HEADS", "Report", "cell", "make_report", "page", "sentence"]

#: Table of the report -> (its title, the columns that are shown).
HEADS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "overview": ("Handovers", ("kernel", "handovers", "hosts", "host_types", "clocks", "first",
                               "last")),
    "totals": ("Totals by kernel", ("name", "kernel", "timed", "p50_ns", "p90_ns", "p99_ns",
                                    "longest_ns", "error_ns")),
    "phases": ("Phases by kernel", ("name", "kernel", "timed", "p50_ns", "p90_ns", "p99_ns",
                                    "longest_ns")),
    "devices": ("Slowest devices", ("name", "handovers", "mean_ns", "p50_ns", "p90_ns", "p99_ns",
                                    "longest_ns")),
    "initcalls": ("Slowest initcalls", ("name", "handovers", "mean_ns", "p50_ns", "p90_ns",
                                        "p99_ns", "longest_ns")),
    "units": ("Slowest units", ("name", "handovers", "mean_ns", "p50_ns", "p90_ns", "p99_ns",
                                "longest_ns")),
    "trends": ("Blackout by day", ("kernel", "date", "timed", "p50_ns", "p90_ns", "p99_ns")),
    "losses": ("Records", ("kernel", "clock", "handovers", "complete", "no_loss_seen",
                           "incomplete", "lost", "clock_error_ns")),
    "dma_left": ("Left able to do DMA", ("name", "handovers", "hosts")),
    "remarks": ("Remarks", ("severity", "code", "handovers")),
}  # fmt: skip

_CSS = Markup(
    "body{font:14px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;"
    "color-scheme:light dark}table{border-collapse:collapse}th{text-align:left;font-weight:600}"
    "td,th{padding:.1rem .9rem .1rem 0;vertical-align:top}td.n,th.n{text-align:right;"
    "font-variant-numeric:tabular-nums}h2{margin-top:2rem}"
)


@dataclass(frozen=True, slots=True)
class Report:
    """The answers by their names in ``--json``; what is suspected; sessions that are not in it."""

    answers: Mapping[str, list[Row]]
    suspects: tuple[Suspect, ...]
    bad: tuple[tuple[str, str], ...]

    def as_dict(self) -> dict[str, Any]:
        """The ``--json`` form."""
        return {
            **self.answers,
            "suspects": [one.as_dict() for one in self.suspects],
            "bad": [{"path": path, "reason": reason} for path, reason in self.bad],
        }


def make_report(fleet: Fleet, questions: Sequence[str] = ()) -> Report:
    """Ask everything, or only some ``questions``: those of HEADS, and "suspects"."""
    wanted = questions or (*QUESTIONS, "suspects")
    return Report(
        {name: ask(fleet) for name, ask in QUESTIONS.items() if name in wanted},
        tuple(suspects(fleet)) if "suspects" in wanted else (),
        tuple((bad.path, bad.reason) for bad in fleet.dataset.bad),
    )


def cell(column: str, value: object) -> str:
    """A value as people read it."""
    if value is None:
        return "all" if column == "kernel" else "unknown"
    if column.endswith("_ns") and isinstance(value, int | float):
        return duration(value)
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)


def sentence(one: Suspect) -> str:
    """``host host0007: device 0000:00:03.0 +20.0 ms (20.2 ms, its peers 229 µs; ...)``."""
    return (
        f"{one.factor} {one.group}: {one.kind} {one.name} {signed(round(one.delta_ns))} "
        f"({duration(one.median_ns)} in the median of {one.handovers}, "
        f"{duration(one.peers_median_ns)} of {one.peers:,} peers; p {one.p:.1g})"
    )


def _number(column: str) -> bool:
    return column.endswith("_ns") or column in (
        "handovers", "timed", "hosts", "host_types", "complete", "no_loss_seen", "incomplete",
        "lost",
    )  # fmt: skip


def _table(rows: Sequence[Row], columns: Sequence[str]) -> Markup:
    def one(name: str, column: str, text: str) -> Markup:
        return tag(name, text, class_="n" if _number(column) else None)

    head = tag("tr", *(one("th", c, c.removesuffix("_ns").replace("_", " ")) for c in columns))
    body = (tag("tr", *(one("td", c, cell(c, row[c])) for c in columns)) for row in rows)
    return tag("table", head, *body)


def page(report: Report, title: str) -> str:
    """One self-contained page; it asks the network for nothing."""
    parts = [tag("h1", title)]
    said = [tag("li", sentence(one)) for one in report.suspects]
    nothing = "Nothing is slower than its peers beyond noise."
    parts += [tag("h2", "Slower than its peers"), tag("ul", *said) if said else tag("p", nothing)]
    for name, (head, columns) in HEADS.items():
        if report.answers.get(name):
            parts += [tag("h2", head), _table(report.answers[name], columns)]
    if report.bad:
        rows: list[Row] = [{"session": p, "reason": r} for p, r in report.bad]
        parts += [tag("h2", "Sessions that are not in it"), _table(rows, ("session", "reason"))]
    policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    head_part = tag(
        "head", tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title), tag("style", _CSS),
    )  # fmt: skip
    return f"<!doctype html>\n{tag('html', head_part, tag('body', joined(parts)), lang='en')}\n"
