"""The interface in this terminal: started, and ended by signals as by a key."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from tracekit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tui.app import TracekitApp
    from tui.runs.base import RunsApp

__all__ = ["need_terminal", "served", "show_runs", "show_session"]


def show_session(
    session: Path, view: str = "story", where: str = "", *, may_export: bool = True
) -> None:
    """Show one session, until the user ends it."""
    from tui.app import TracekitApp

    app = TracekitApp(session, view=view, where=where, may_export=may_export)
    _run(app)
    if app.failed is not None:
        raise app.failed


def show_runs(make: Callable[[], RunsApp]) -> None:
    """Show many runs, and a session that is chosen of them, until the user ends that."""
    while True:
        app = make()
        _run(app)
        if app.chosen is None:
            return
        show_session(app.chosen)


def need_terminal(instead: str) -> None:
    """Raise :class:`~tracekit.errors.UsageError` where there is no terminal to draw on."""
    terminal = sys.stdin.isatty() and sys.stderr.isatty()  # Textual draws on stderr
    if not (terminal or served()):
        raise UsageError(f"show needs a terminal; {instead}")


def _run(app: TracekitApp | RunsApp) -> None:
    """Run the app. SIGTERM and SIGHUP end it first, which restores the terminal, and then us."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    came: list[int] = []

    def end(number: int, _: FrameType | None) -> None:
        came.append(number)
        signal.signal(signal.SIGCONT, signal.SIG_IGN)  # often sent after it: Textual would draw
        app.end()

    for number in before:
        signal.signal(number, end)
    if served():
        threading.Thread(target=_end_with_server, args=(app,), daemon=True).start()
    try:
        with _terminal_kept():
            app.run()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        signal.raise_signal(came[0])


@contextmanager
def _terminal_kept() -> Iterator[None]:
    """The terminal's settings are afterwards what they were.

    A SIGCONT without a stop makes Textual take its own settings for those that were before.
    """
    try:
        before = termios.tcgetattr(0)
    except termios.error:  # no terminal: it is served
        yield
        return
    try:
        yield
    finally:
        with suppress(termios.error):  # it has been hung up
            termios.tcsetattr(0, termios.TCSANOW, before)


def served() -> bool:
    """Whether textual-serve has started this process, and is its terminal."""
    return "TEXTUAL_DRIVER" in os.environ


def _end_with_server(app: TracekitApp | RunsApp) -> None:
    """Wait until nobody can write to standard input any more: the server was killed."""
    hung_up = select.poll()
    hung_up.register(0, 0)  # POLLHUP is always told; what can be read is Textual's
    hung_up.poll()
    app.end()
