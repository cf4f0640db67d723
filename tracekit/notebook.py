"""What Jupyter shows of a recording and of its report: HTML, with everything recorded escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tracekit.text import count_lost, duration, error_bound, on_one_line

__all__ = ["ShownReport", "html_table", "html_text"]

_MOST = 60  # phases: those of a long chain of kernels are cut


def html_text(value: object) -> str:
    """A value as HTML text; control characters escaped, too."""
    from html import escape  # slow to import, and few look at a notebook

    return escape(on_one_line(str(value)))


def html_table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; every cell is escaped."""
    head = "".join(f"<th>{html_text(one)}</th>" for one in heads)
    body = "".join(
        "<tr>" + "".join(f"<td>{html_text(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


class ShownReport:
    """Gives a report its look in a notebook."""

    __slots__ = ()

    def as_dict(self) -> dict[str, Any]:
        """The report as ``--json`` prints it."""
        raise NotImplementedError

    def _repr_html_(self) -> str:
        report = self.as_dict()
        releases = {b["index"]: b["release"] for b in report["boots"]}
        parts = []
        for h in report["handovers"]:
            kernels = f"{releases.get(h['old'])} → {releases.get(h['new'])}"
            parts.append(f"<p><b>Linux {html_text(kernels)}</b>, {html_text(h['way']['text'])}</p>")
            parts.append(html_table(("", "took", "error"), [
                ("blackout", duration(h["blackout_ns"]), error_bound(h["blackout_error_ns"])),
                ("gap", duration(h["gap_ns"]), error_bound(h["gap_error_ns"])),
                ("when", h["jump_time"] or "unknown", _wall_error(report, h["old"])),
            ]))  # fmt: skip
        phases = [p for p in report["phases"] if p["observed"]]
        if phases:
            rows = [(p["boot"], p["name"], duration(p["start_ns"]), duration(p["duration_ns"]))
                    for p in phases[:_MOST]]  # fmt: skip
            rows += [
                (
                    s["boot"],
                    f"{s['phase']}: {s['name']}",
                    duration(s["start_ns"]),
                    duration(s["took_ns"]),
                )
                for s in report["kho_steps"][:_MOST]
                if s["phase"]
            ]
            parts.append(html_table(("boot", "phase", "starts", "takes"), rows))
        lost = [(b["index"], b["release"], f"{b['events']:,}",
                 count_lost(b["lost"], b["lost_at_least"]), b["unreadable"])
                for b in report["boots"]]  # fmt: skip
        parts.append(f"<p>record: {html_text(report['verdict'])}</p>")
        parts.append(html_table(("boot", "kernel", "events", "lost", "unreadable"), lost))
        return "".join(parts)


def _wall_error(report: dict[str, Any], boot: int) -> str:
    time = next((t for t in report["times"] if t["boot"] == boot), None)
    if time is None:
        return ""
    return time["basis"] if time["error_ns"] is None else error_bound(time["error_ns"])
