"""``tracekit show``: the terminal interface."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import ExitStack
from importlib.resources import as_file, files
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from tracekit.errors import UsageError

if TYPE_CHECKING:
    from tui.app import TracekitApp

__all__ = ["command"]

_VIEWS = ("story", "timeline", "events", "tables", "kho")


@click.command("show")
@click.argument("session", type=click.Path(readable=False, path_type=Path), required=False)
@click.option(
    "--view", type=click.Choice(_VIEWS), default="story", show_default=True, help="Begin with it."
)
@click.option("--where", metavar="EXPR", default="", help="Begin with this filter.")
@click.option("--web", is_flag=True, help="Serve it to a browser on this machine instead.")
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True,
              help="Where --web listens.")  # fmt: skip
def command(session: Path | None, view: str, where: str, web: bool, port: int) -> None:
    """Browse SESSION in the terminal; without one, the handover that ships with tracekit.

    \b
    The first screen tells where the time went: Enter on a bar shows it in the timeline.
    1 2 3 4 5 change the view, / searches, f filters, ? lists every key, q ends it.

    \b
    tracekit show                                      the handover that ships
    tracekit show SESSION --view events --where 'cpu = 0 and event ~ kexec:*'
    """
    from tracekit.query.expr import parse

    parse(where)  # a mistake is reported before anything is drawn
    if web:
        _serve(session, view, where, port)
        return
    served = "TEXTUAL_DRIVER" in os.environ  # by textual-serve, which is the terminal
    if not served and not (sys.stdin.isatty() and sys.stderr.isatty()):  # Textual draws on stderr
        raise UsageError("show needs a terminal; 'tracekit report' prints the same story")
    with ExitStack() as stack:
        if session is None:
            shipped = files("tracekit") / "demo" / "handover.tar.zst"
            session = stack.enter_context(as_file(shipped))
        from tui.app import TracekitApp

        app = TracekitApp(session, view=view, where=where)
        _run(app)
    if app.failed is not None:
        raise app.failed


def _run(app: TracekitApp) -> None:
    """Run the app. SIGTERM and SIGHUP end it first, which restores the terminal, and then us."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    came: list[int] = []

    def end(number: int, _: FrameType | None) -> None:
        came.append(number)
        signal.signal(signal.SIGCONT, signal.SIG_IGN)  # often sent after it: Textual would draw
        app.end()

    for number in before:
        signal.signal(number, end)
    try:
        app.run()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        signal.raise_signal(came[0])


def _serve(session: Path | None, view: str, where: str, port: int) -> None:
    """Serve the interface to browsers on this machine, one process per page."""
    try:
        from textual_serve.server import Server
    except ImportError:
        raise UsageError("--web needs textual-serve: pip install 'kexec-tracekit[web]'") from None
    import shlex

    sys.unraisablehook = _unraisable
    words = [sys.executable, "-m", "tracekit", "show", "--view", view, "--where", where]
    Server(shlex.join([*words, *(["--", str(session)] if session else [])]), port=port).serve()


def _unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    """Drop what the garbage collector raises on the pipes that textual-serve leaves at the end."""
    if str(unraisable.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(unraisable)
