"""``tracekit show``: the terminal interface."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from importlib.resources import as_file, files
from pathlib import Path

import click

from tracekit.errors import UsageError

__all__ = ["command"]


@click.command("show")
@click.argument("session", type=click.Path(readable=False, path_type=Path), required=False)
def command(session: Path | None) -> None:
    """Browse SESSION in the terminal (without one: the handover that ships with tracekit)."""
    if not sys.stdout.isatty() or not sys.stdin.isatty():
        raise UsageError("show needs a terminal; 'tracekit report' prints the same story")
    with ExitStack() as stack:
        if session is None:
            shipped = files("tracekit") / "demo" / "handover.tar.zst"
            session = stack.enter_context(as_file(shipped))
        from tui.app import TracekitApp

        TracekitApp(session).run()
