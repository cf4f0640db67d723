"""Runs held against a budget: which line of it was broken, by how much, and what cannot be told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from fnmatch import fnmatchcase
from typing import Any, Literal
from xml.etree import ElementTree

from tracekit.frozen import dataclass
from tracekit.runs.budget import Baseline, Budget, Limit
from tracekit.runs.run import Figure, Run
from tracekit.runs.sets import spread_of
from tracekit.text import duration, error_bound, on_one_line

__all__ = ["Checked", "check", "github_lines", "junit"]

#: ``close``: above the limit, but by less than the error, so it may be held. ``unknown``: nothing
#: was measured that could tell; a budget is not held by what is not known.
State = Literal["held", "close", "broken", "unknown"]
_GLOB = "*?["
_NO_XML = "\ufffe\uffff"


@dataclass(frozen=True, slots=True)
class Checked:
    """One line of the budget and what it was held against; ``run`` names that ("" is all runs)."""

    rule: str
    run: str
    subject: str
    state: State
    message: str
    line: int

    @property
    def title(self) -> str:
        """The rule, and what it was held against where the rule is a pattern."""
        return self.rule if self.rule.endswith(self.subject) else f"{self.rule}: {self.subject}"

    @property
    def failed(self) -> bool:
        """Whether the budget is not held here."""
        return self.state in ("broken", "unknown")

    def as_dict(self) -> dict[str, Any]:
        """The ``--json`` form."""
        return asdict(self)


def _title(kind: str, name: str) -> str:
    return name if kind in ("total", name) else f"{kind} {name}"


def _against(figure: Figure, limit: Limit) -> tuple[State, str]:
    at_most = f"at most {duration(limit.limit)}"
    if figure.ns is None:
        why = "it never returned" if not figure.finished else "it was not measured"
        return ("broken" if not figure.finished else "unknown"), f"{why}; {at_most}"
    took = f"{duration(figure.ns)} {error_bound(figure.error_ns)}"
    over = figure.ns - limit.limit
    if over <= 0:
        return "held", f"{took}, {at_most}"
    if figure.error_ns is None or over <= figure.error_ns:
        return "close", f"{took}, {at_most}: over it by less than the error"
    return "broken", f"{took}, {at_most}: over it by {duration(over)}"


def _figures(run: Run, limit: Limit) -> Iterator[Checked]:
    rule = _title(limit.kind, limit.pattern)
    hits = [
        f for f in run.figures
        if f.kind == limit.kind and (f.name == limit.pattern or fnmatchcase(f.name, limit.pattern))
    ]  # fmt: skip
    if not hits:
        glob = any(c in limit.pattern for c in _GLOB)
        yield Checked(rule, run.title, limit.pattern, "held" if glob else "unknown",
                      "nothing of that name was recorded", limit.line)  # fmt: skip
    for figure in hits:
        state, message = _against(figure, limit)
        yield Checked(rule, run.title, figure.name, state, message, limit.line)


def _counted(run: Run, limit: Limit) -> Checked:
    values = {"lost": run.lost, "unreadable": run.unreadable, "undecodable": run.undecodable}
    value = values[limit.kind]
    what = f"{limit.kind} events" if limit.kind != "unreadable" else "unreadable sub-buffers"
    if value is None:
        state: State = "unknown"
        message = f"how many is not known; at most {limit.limit:,} {what}"
    else:
        least = "at least " if limit.kind == "lost" and run.lost_at_least else ""
        state = "broken" if value > limit.limit else "unknown" if least else "held"
        message = f"{least}{value:,} {what}, at most {limit.limit:,}"
    return Checked(limit.kind, run.title, limit.kind, state, message, limit.line)


def _clock(run: Run, limit: Limit) -> Checked:
    error = run.clock_error_ns
    state: State = "unknown" if error is None else "broken" if error > limit.limit else "held"
    message = f"the clocks' error is {duration(error)}, at most {duration(limit.limit)}"
    return Checked("clock_error", run.title, "clock_error", state, message, limit.line)


def _dma(run: Run, allowed: Sequence[str], line: int) -> Checked:
    if run.dma_left is None:
        said = "whether devices were left able to do DMA was not recorded"
        return Checked("dma_left", run.title, "dma_left", "unknown", said, line)
    more = [d for d in run.dma_left if not any(fnmatchcase(d, glob) for glob in allowed)]
    said = f"could still do DMA after their shutdown: {', '.join(more)}" if more else "none"
    return Checked("dma_left", run.title, "dma_left", "broken" if more else "held", said, line)


def _absolute(run: Run, budget: Budget) -> Iterator[Checked]:
    for limit in budget.limits:
        if limit.kind == "clock_error":
            yield _clock(run, limit)
        elif limit.kind in ("lost", "unreadable", "undecodable"):
            yield _counted(run, limit)
        else:
            yield from _figures(run, limit)
    if budget.dma_left is not None:
        yield _dma(run, budget.dma_left, budget.dma_line)


def _relative(runs: Sequence[Run], base: Baseline, budget: Budget) -> Checked:
    """The median of the runs against the baseline's, with all that may blur either."""
    found = [f for run in runs if (f := run.figure(base.kind, base.name)) is not None]
    rule, subject = f"baseline {_title(base.kind, base.name)}", base.name
    now = spread_of(found, len(runs))
    if now.median_ns is None:
        stuck = any(not f.finished for f in found)
        needed = base.kind == "total"
        state: State = "broken" if stuck else "unknown" if needed else "held"
        message = "it never returned" if stuck else "it was not recorded this time"
        return Checked(rule, "", subject, state, message, base.line)
    room = max(round(budget.tolerance * base.median_ns), budget.least_ns)
    half = 0 if now.n < 2 else round(((now.high_ns or 0) - (now.low_ns or 0)) / 2)
    blur = base.spread_ns + base.error_ns + half + (now.error_ns or 0)
    over = round(now.median_ns) - base.median_ns
    said = (
        f"{duration(now.median_ns)}{' in the median' if now.n > 1 else ''}, "
        f"{duration(base.median_ns)} in {base.runs} earlier runs"
    )
    if over <= room:
        return Checked(rule, "", subject, "held", said, base.line)
    allowed = f"{duration(room)} more is tolerated"
    if over <= room + blur:
        return Checked(rule, "", subject, "close",
                       f"{said}: {allowed}, and spread and errors are {duration(blur)}",
                       base.line)  # fmt: skip
    return Checked(rule, "", subject, "broken",
                   f"{said}: {duration(over)} more; {allowed}, and spread and errors are "
                   f"{duration(blur)}", base.line)  # fmt: skip


def check(runs: Sequence[Run], budget: Budget) -> list[Checked]:
    """Every line of the budget: the limits of each run, the baseline of all runs together."""
    found = [one for run in runs for one in _absolute(run, budget)]
    return found + [_relative(runs, base, budget) for base in budget.baselines]


# -- for CI -----------------------------------------------------------------------------------


def junit(checked: Sequence[Checked], source: str) -> str:
    """JUnit XML: a test case a line of the budget and run."""
    failures = sum(c.failed for c in checked)
    counts = {"tests": str(len(checked)), "failures": str(failures), "errors": "0"}
    suites = ElementTree.Element("testsuites", counts)
    suite = ElementTree.SubElement(suites, "testsuite", {"name": _xml(source), **counts})
    for one in checked:
        about = {"classname": _xml(one.run or "all runs"), "name": _xml(one.title)}
        case = ElementTree.SubElement(suite, "testcase", about)
        if one.failed:
            ElementTree.SubElement(case, "failure", {"message": _xml(one.message),
                                                     "type": one.state})  # fmt: skip
        else:
            ElementTree.SubElement(case, "system-out").text = _xml(one.message)
    ElementTree.indent(suites)
    text: str = ElementTree.tostring(suites, "unicode", xml_declaration=False)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'


def _xml(text: str) -> str:
    """What XML 1.0 takes."""
    return "".join(c for c in on_one_line(text) if c not in _NO_XML)


def _command(text: str, *, value: bool = False) -> str:
    """As GitHub's workflow commands escape a message, or the value of a property."""
    escaped = on_one_line(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return escaped.replace(":", "%3A").replace(",", "%2C") if value else escaped


def github_lines(checked: Sequence[Checked], source: str) -> list[str]:
    """GitHub's workflow commands: an error for what is not held, a warning for what is close."""
    lines = []
    for one in checked:
        if one.state == "held":
            continue
        level = "error" if one.failed else "warning"
        about = f"file={_command(source, value=True)},line={one.line},title=tracekit check"
        where = f"{one.run}: " if one.run else ""
        lines.append(f"::{level} {about}::{_command(f'{where}{one.title}: {one.message}')}")
    return lines
