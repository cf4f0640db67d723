"""A session as one self-contained HTML page, to be attached to a ticket.

It needs no network and asks for none: styles, pictures and the one script are in it, and its policy
(CSP) allows nothing else. What a session says is escaped by :mod:`tracekit.drawing.markup`.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from tracekit.browse.coverage import losses_of
from tracekit.drawing.chain import chain_list
from tracekit.drawing.lanes import Lanes, lanes, still
from tracekit.drawing.markup import EMPTY, Markup, joined, tag
from tracekit.drawing.panics import panics
from tracekit.drawing.plot import STYLE, plot
from tracekit.drawing.sections import (
    blame_sections,
    crossing,
    handovers,
    last_events,
    losses,
    phases,
    remarks,
    stuck,
)
from tracekit.drawing.story import story
from tracekit.drawing.tables import section
from tracekit.recording import Recording
from tracekit.report.critical.blame import Blamed, blame
from tracekit.report.critical.chain import critical_chains
from tracekit.report.critical.links import Chain
from tracekit.report.make import HandoverReport, Report
from tracekit.text import measured, on_one_line

__all__ = ["page"]

_LARGEST = 1_900_000  # bytes of a page
#: (turns and events of the lanes, rows of a list, handovers), until the page is small enough
_SIZES = ((9000, 1200, 12), (2500, 400, 6), (600, 100, 2), (0, 20, 1))
_HERE = Path(__file__).parent
_CSS = Markup(STYLE + (_HERE / "page.css").read_text("utf-8"))
_JS = Markup((_HERE / "page.js").read_text("utf-8"))
_LEGEND = (
    "Drag to move, double-click or Ctrl and wheel to zoom, keys w a s d. Blank on a CPU is idle; "
    "grey is not recorded or not in this file, red is lost. The strokes below a lane are events."
)


def _allowed(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _head(title: str) -> Markup:
    policy = (
        f"default-src 'none'; style-src {_allowed(_CSS)}; script-src {_allowed(_JS)}; "
        "base-uri 'none'; form-action 'none'"
    )
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", title),
        tag("style", _CSS),
    )


def _fact(name: str, value: str, more: str, face: str = "") -> Markup:
    return tag("div", tag("dt", name), tag("dd", tag("span", value, class_=face or None),
                                          tag("small", more)), class_="fact")  # fmt: skip


def _heading(report: Report, h: HandoverReport | None) -> str:
    releases = {b.index: b.release for b in report.boots}
    if h is None:
        return f"Linux {', '.join(releases.values()) or 'no boot'}"
    return f"Linux {releases[h.old]} → {releases[h.new]}"


def _facts(report: Report, h: HandoverReport | None, chain: Chain | None) -> Iterator[Markup]:
    if h is not None:
        took, error = measured(h.blackout_ns, h.blackout_error_ns)
        yield _fact("blackout", took, f"{error} {h.way.begin} to first user process".strip())
        bounds = (h.gap_earliest_ns, h.gap_latest_ns)
        took, error = measured(h.gap_ns, h.gap_error_ns, bounds)
        yield _fact("gap", took, f"{error} last old event to first new one".strip())
    if chain is not None and chain.links:
        known, _, rest = chain.account.replace(";", ",").partition(" with evidence, ")
        yield _fact("with evidence", known, rest)
    faces = {"complete": "good", "incomplete": "warn", "no loss seen": ""}
    yield _fact("record", report.verdict, f"{report.events:,} events, {report.account}",
                faces[report.verdict])  # fmt: skip


def _timeline(made: Lanes | None, report: Report) -> Markup:
    if made is None:
        return EMPTY
    views = [
        tag("button", name, type="button", data_view=n)
        for n, (name, *_) in enumerate(made.data["views"])
    ]
    acts = [
        tag("button", sign, type="button", data_act=act, title=title)
        for sign, act, title in (
            ("-", "out", "zoom out (s)"), ("+", "in", "zoom in (w)"), ("←", "left", "left (a)"),
            ("→", "right", "right (d)"), ("0", "jump", "to the jump (0)"),
        )
    ]  # fmt: skip
    left = made.data["cpus_left_out"]
    more = tag("p", f"{left} more CPUs are not drawn: tracekit show has them") if left else EMPTY
    title = "Around the jump" if report.handovers else "The end of the record"
    return section(
        "timeline", f"{title}: every CPU (0 is {report.zero})",
        tag("div", *views, *acts, class_="keys", id="lanes-keys", hidden="hidden"),
        tag("div", still(made), class_="scroll", id="lanes"),
        tag("output", id="lanes-told"), tag("p", _LEGEND, class_="faint"), more,
        tag("script", made.json, type="application/json", id="lanes-data"),
    )  # fmt: skip


def _handover(report: Report, number: int, chain: Chain | None, things: Sequence[Blamed]) -> Markup:
    h = report.handovers[number]
    which = f" (boot {h.old} → {h.new})" if len(report.handovers) > 1 else ""
    mark = f"-{number}" if number else ""

    def pictured(picture: Markup) -> Markup:
        return tag("div", picture, class_="scroll") if picture else EMPTY

    panels = [pictured(panel) for panel in plot(report, things, number)]
    return joined([
        section(f"story{mark}", f"Where the blackout went{which}", pictured(story(report, number))),
        section(f"phases{mark}", f"Phases{which} (0 is {h.zero})", phases(report, number)),
        section(f"chain{mark}", f"Critical chain{which}", chain_list(chain) if chain else EMPTY),
        section(f"plot{mark}", f"What ran when{which}", *panels),
    ])  # fmt: skip


def _body(
    recording: Recording,
    report: Report,
    chains: Sequence[Chain],
    things: Sequence[Blamed],
    made: Lanes | None,
    sizes: tuple[int, int],
) -> tuple[str, Markup]:
    """(title, what is in the body); ``sizes``: the most rows of a list, and handovers in full."""
    most, full = sizes
    h = report.handovers[-1] if report.handovers else None
    title = _heading(report, h)
    ended = h.way if h else report.ending.way if report.ending else None
    way = f"way down: {on_one_line(ended.text)}" if ended else "one boot, no jump in this session"
    named = {(c.old, c.new): c for c in chains}
    jumps = [
        _handover(report, n, named.get((one.old, one.new)), things)
        for n, one in list(enumerate(report.handovers))[-full:]
    ]
    main = joined([
        handovers(report, most), panics(report, most), stuck(report, most), *jumps[-1:],
        _timeline(made, report),
        blame_sections(report, things, most),
        *jumps[:-1], crossing(report, most), losses(report, most), last_events(report, most),
        remarks(report, most),
    ])  # fmt: skip
    links = [
        tag("a", name.split(" (")[0].split(":")[0], href=f"#{target}")
        for target, name in _contents(main)
    ]
    head = tag("header", tag("h1", title), tag("p", way),
               tag("dl", *_facts(report, h, chains[-1] if chains else None), class_="facts"),
               tag("nav", *links))  # fmt: skip
    name = Path(report.session).name
    foot = tag("footer", tag("p", f"session {name}, recorded with tracekit "
                             f"{recording.session.manifest.tool_version}"),
               tag("p", f"fingerprint sha256:{recording.session.fingerprint}"))  # fmt: skip
    return title, joined([head, tag("main", main), foot])


def _contents(main: Markup) -> Iterator[tuple[str, Markup]]:
    """(id, heading) of each section, as they stand in the page."""
    for part in main.split('<section id="')[1:]:
        target, _, rest = part.partition('"><h2>')
        yield target, Markup(rest.partition("</h2>")[0])


def page(recording: Recording) -> str:
    """The page, smaller than 2 MB: else the lanes and lists hold less, and say so."""
    report = recording.report()
    chains, things = critical_chains(recording, losses_of(recording)), blame(recording, report)
    for turns, rows, jumps in _SIZES:
        made = lanes(recording, report, turns) if turns else None
        title, body = _body(recording, report, chains, things, made, (rows, jumps))
        html = tag("html", _head(title), tag("body", body, tag("script", _JS)), lang="en")
        text = f"<!doctype html>\n{html}\n"
        if len(text.encode()) < _LARGEST:
            break
    return text
