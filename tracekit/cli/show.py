"""``tracekit show``: the terminal interface."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from importlib.resources import as_file, files
from pathlib import Path

import click

from tracekit.cli.common import working
from tracekit.cli.terminal import need_terminal, served, show_runs, show_session
from tracekit.errors import UsageError

__all__ = ["command"]

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
        show_session(session, view, where, may_export=allow_export or not served())


def _compare(a: str, b: str) -> None:
    from tracekit.cli.runs.opened import one_run
    from tracekit.runs.pair import compare
    from tui.runs.compare import CompareApp

    need_terminal("'tracekit compare' prints the same")
    with working("decoding"):
        pair = compare(one_run(a), one_run(b))
    show_runs(lambda: CompareApp(pair))


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
