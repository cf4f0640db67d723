"""What Jupyter shows: HTML of the report's numbers, with nothing of a session let through."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files

import tracekit

DEMO = files("tracekit") / "demo" / "handover.tar.zst"
EVIL = "<script>alert(1)</script>\x1b[2J&"


def test_a_report_shows_itself() -> None:
    report = tracekit.open(DEMO).report()
    html = report._repr_html_()
    (jump,) = report.as_dict()["handovers"]
    assert jump["jump_time"] in html and "device shutdown" in html and "3.099 s" in html
    assert html.count("<table>") == html.count("</table>") == 3


def test_recorded_texts_are_escaped() -> None:
    report = tracekit.open(DEMO).report()
    boots = tuple(replace(boot, release=EVIL) for boot in report.boots)
    phases = tuple(replace(phase, name=EVIL) for phase in report.phases)
    html = replace(report, boots=boots, phases=phases)._repr_html_()
    assert "<script" not in html and "\x1b" not in html and "&lt;script&gt;" in html


def test_a_recording_shows_itself_without_decoding() -> None:
    recording = tracekit.open(DEMO)
    html = recording._repr_html_()
    assert "7.2.13" in html and "7.3.4" in html
    assert "_decoded" not in vars(recording)
