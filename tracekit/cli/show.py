"""``tracekit show``: the terminal interface."""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from contextlib import ExitStack
from importlib.resources import as_file, files
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from tracekit.cli.common import working
from tracekit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tui.app import TracekitApp
    from tui.runs.base import RunsApp

__all__ = ["command", "need_terminal", "show_runs", "show_session"]

_VIEWS = ("story", "timeline", "events", "tables", "kho")


@click.command("show")
@click.argument("session", type=click.Path(readable=False, path_type=Path), required=False)
@click.argument("other", type=click.Path(readable=False, path_type=Path), required=False)
@click.option(
    "--view", type=click.Choice(_VIEWS), default="story", show_default=True, help="Begin with it."
)
@click.option("--where", metavar="EXPR", default="", help="Begin with this filter.")
@click.option("--web", is_flag=True, help="Serve it to a browser on this machine instead.")
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True,
              help="Where --web listens.")  # fmt: skip
@click.option("--host", metavar="ADDRESS", default="127.0.0.1", show_default=True,
              help="With --web: listen there, for other machines.")  # fmt: skip
@click.option(
    "--allow-export", is_flag=True, help="With --web: the browser may have files written."
)
def command(
    session: Path | None,
    other: Path | None,
    view: str,
    where: str,
    web: bool,
    port: int,
    host: str,
    allow_export: bool,
) -> None:
    """Browse SESSION in the terminal; without one, the handover that ships with tracekit.

    \b
    The first screen tells where the time went: Enter on a bar shows it in the timeline.
    1 2 3 4 5 change the view, / searches, f filters, ? lists every key, q ends it.

    Two sessions are shown beside each other: mirrored bars, and what differs by more than the
    clocks may be off; a and b open one of them.

    --web prints an address with a random token: whoever has it can use the interface, write
    notes into the session, and with --allow-export any file that you can write.

    \b
    tracekit show                                      the handover that ships
    tracekit show BEFORE AFTER                         two handovers beside each other
    tracekit show SESSION --view events --where 'cpu = 0 and event ~ kexec:*'
    """
    from tracekit.query.expr import parse

    parse(where)  # a mistake is reported before anything is drawn
    if other is not None:
        if web or where or view != "story":
            raise UsageError("two sessions have one view, and not in a browser: name one session")
        _compare(str(session), str(other))
        return
    if web:
        _serve(session, ["--view", view, "--where", where], host, port, allow_export)
        return
    need_terminal("'tracekit report' prints the same story")
    with ExitStack() as stack:
        if session is None:
            shipped = files("tracekit") / "demo" / "handover.tar.zst"
            session = stack.enter_context(as_file(shipped))
        show_session(session, view, where, may_export=allow_export or not _served())


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
    if not (terminal or _served()):
        raise UsageError(f"show needs a terminal; {instead}")


def _compare(a: str, b: str) -> None:
    from tracekit.cli.runs.opened import one_run
    from tracekit.runs.pair import compare
    from tui.runs.compare import CompareApp

    need_terminal("'tracekit compare' prints the same")
    with working("decoding"):
        pair = compare(one_run(a), one_run(b))
    show_runs(lambda: CompareApp(pair))


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
    if _served():
        threading.Thread(target=_end_with_server, args=(app,), daemon=True).start()
    try:
        app.run()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        signal.raise_signal(came[0])


def _served() -> bool:
    """Whether textual-serve has started this process, and is its terminal."""
    return "TEXTUAL_DRIVER" in os.environ


def _end_with_server(app: TracekitApp | RunsApp) -> None:
    """Wait until nobody can write to standard input any more: the server was killed."""
    hung_up = select.poll()
    hung_up.register(0, 0)  # POLLHUP is always told; what can be read is Textual's
    hung_up.poll()
    app.end()


def _serve(
    session: Path | None, options: list[str], host: str, port: int, allow_export: bool
) -> None:
    """Serve the interface to browsers, one process per page."""
    try:
        from tracekit.cli.web_server import WebServer
    except ImportError:
        raise UsageError("--web needs textual-serve: pip install 'kexec-tracekit[web]'") from None
    import shlex

    from tracekit.interpreter import python_command
    from tracekit.session import Session

    if session is not None:
        Session.open(session)  # what is no session is reported before anybody opens the page
    sys.unraisablehook = _unraisable
    words = ["show", *options, *(["--allow-export"] if allow_export else [])]
    words += ["--", str(session)] if session else []
    WebServer(shlex.join(["exec", *python_command("tracekit.cli", words)]), host, port).serve()


def _unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    """Drop what the garbage collector raises on the pipes that textual-serve leaves at the end."""
    if str(unraisable.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(unraisable)
