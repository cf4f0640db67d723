"""What the commands share: messages on stderr, progress, and the --sysroot option."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import click

from tracekit.documents import document_json
from tracekit.errors import Diagnostic
from tracekit.frozen import dataclass
from tracekit.text import on_one_line, printable

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderHook
    from rich.segment import Segment

__all__ = [
    "clean_console",
    "detail",
    "progress",
    "say",
    "say_diagnostics",
    "show",
    "show_json",
    "shows_progress",
    "sysroot_option",
    "talk",
    "talk_options",
    "working",
]

_PATIENCE = 0.7  # seconds before a progress bar is worth its place on the screen


@dataclass(slots=True)
class _Talk:
    quiet: bool = False
    verbose: bool = False


#: How much to say on stderr; set by ``-q`` and ``-v``.
talk = _Talk()


def talk_options() -> list[click.Parameter]:
    """``-q`` and ``-v``, for the group and for every command."""

    def set_quiet(_: click.Context, __: click.Parameter, value: bool) -> None:
        talk.quiet = talk.quiet or value

    def set_verbose(_: click.Context, __: click.Parameter, value: bool) -> None:
        talk.verbose = talk.verbose or value

    return [
        click.Option(
            ["-q", "--quiet"], is_flag=True, expose_value=False, callback=set_quiet,
            help="Say nothing but errors.",
        ),
        click.Option(
            ["-v", "--verbose"], is_flag=True, expose_value=False, callback=set_verbose,
            help="Say more; show where errors come from.",
        ),
    ]  # fmt: skip


def show(text: str, *, nl: bool = True) -> None:
    """Print text for people on stdout. Commands print with this, or JSON, which escapes."""
    click.echo(printable(text), nl=nl)


def show_json(document: Mapping[str, Any]) -> None:
    """Print a command's JSON document on stdout."""
    click.echo(document_json(document))


def clean_console(**options: Any) -> Console:
    """A console of rich's that lets no control character of a text through."""
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False, **options)
    console.push_render_hook(cast("RenderHook", _CleanHook()))
    return console


class _CleanHook:
    """A hook of rich's: wraps what is to be printed; its base class would be imported early."""

    def process_renderables(self, renderables: list[Any]) -> list[Any]:
        return [_Cleaned(one) for one in renderables]


@dataclass(frozen=True)
class _Cleaned:
    """What is rendered, with the control characters in its segments escaped."""

    inner: Any

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for segment in console.render(self.inner, options):
            clean = segment.text if segment.control else printable(segment.text)
            yield segment if clean is segment.text else segment._replace(text=clean)


def say(message: str) -> None:
    """Print a message on stderr, unless ``-q``."""
    if not talk.quiet:
        click.echo(printable(message), err=True)


def detail(message: str) -> None:
    """Print a message on stderr, with ``-v`` only."""
    if talk.verbose:
        click.echo(printable(message), err=True)


def say_diagnostics(diagnostics: Iterable[Diagnostic]) -> None:
    """Print remarks; those of severity ``info`` with ``-v`` only."""
    for d in diagnostics:
        text = on_one_line(f"{d.severity}: {d.where}: {d.message}")
        (detail if d.severity == "info" else say)(text)


#: Where the commands on the target read kernel files.
sysroot_option = click.option(
    "--sysroot",
    default="/",
    metavar="DIR",
    type=click.Path(),
    help="Read a saved tree shaped like / instead of this machine.",
)


@contextmanager
def working(title: str) -> Iterator[None]:
    """Shows on a terminal that work is in progress, once it has taken a while."""
    if talk.quiet or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.markup import escape

    status = Console(stderr=True).status(escape(printable(title)))
    timer = threading.Timer(_PATIENCE, status.start)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        status.stop()


def shows_progress() -> bool:
    """Whether anybody would see a bar."""
    return not talk.quiet and sys.stderr.isatty()


@contextmanager
def progress(title: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """Yields ``advance(n)``; a bar appears on a terminal once the work has taken a while."""
    if not shows_progress():
        yield lambda n: None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress

    bar = Progress(console=Console(stderr=True), transient=True)
    task = bar.add_task(escape(printable(title)), total=total)
    begun = time.monotonic()
    shown = False

    def advance(n: int) -> None:
        nonlocal shown
        bar.advance(task, n)
        if not shown and time.monotonic() - begun > _PATIENCE:
            shown = True
            bar.start()

    try:
        yield advance
    finally:
        bar.stop()
