"""The commands of the command palette besides Textual's own."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from textual.app import SystemCommand
from textual.keys import format_key
from textual.screen import Screen

from tracekit.text import duration, printable
from tui.host import Host

__all__ = ["palette"]

#: (title, what it does, the application's action)
_COMMANDS = (
    ("Story", "Where the time went", "show_view('story')"),
    ("Timeline", "Lanes of CPUs, devices, messages", "show_view('timeline')"),
    ("Events", "Every event, its arguments and bytes", "show_view('events')"),
    ("Tables", "By CPU, task, event, device, initcall", "show_view('tables')"),
    ("KHO", "What was handed over", "show_view('kho')"),
    ("Jump", "Go to the last event of the old kernel", "jump"),
    ("Go to", "A time, a date, a phase, a mark or a note", "go"),
    ("Back", "To where you were before", "revisit(True)"),
    ("Forward", "Where you went back from", "revisit(False)"),
    ("Search", "Find text in tasks, events and arguments", "search"),
    ("Filter", "Show only the events that an expression describes", "filter"),
    ("Toggles", "Turn CPUs, events and tasks on and off", "toggles"),
    ("Bookmark", "Note something about the event under the cursor", "bookmark"),
    ("Bookmarks", "All bookmarks of the session", "bookmarks"),
    ("Next match", "Of what was searched for", "next_match(1)"),
    ("Previous match", "Of what was searched for", "next_match(-1)"),
    ("Export", "The events that are shown as CSV or Parquet, or a picture", "export"),
    ("All keys", "What every key does", "help"),
)


def palette(host: Host, screen: Screen[Any]) -> Iterator[SystemCommand]:
    """The application's commands, those of the view in front, one for each phase and step.

    A view's key is a command if it has a tooltip, which is its title.
    """
    for title, what, action in _COMMANDS:
        yield SystemCommand(title, what, partial(host.run_action, action))
    if host.model is None:
        return
    titles = set()
    for node, binding, _, title in screen.active_bindings.values():
        if title and title not in titles and node is not host:
            titles.add(title)
            act = partial(host.run_action, binding.action, node)
            yield SystemCommand(title, f"Key {format_key(binding.key)}", act)
    for p in host.model.report.phases:
        if p.start_ns is not None and p.duration_ns is not None:
            title = f"Phase: {printable(p.name)}"
            show = partial(host.show_span, p.start_ns, p.start_ns + p.duration_ns)
            yield SystemCommand(title, f"{duration(p.duration_ns)}, in the timeline", show)
    for s in host.model.report.kho_steps:
        if s.start_ns is not None and s.end_ns is not None:
            show = partial(host.show_span, s.start_ns, s.end_ns)
            title = f"Step: {printable(s.name)}, boot {s.boot}"
            yield SystemCommand(title, f"{duration(s.took_ns)}, in the timeline", show)
