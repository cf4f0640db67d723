"""What the commands about many runs share: opening them, and a console for their tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tracekit.cli.common import clean_console, progress, say
from tracekit.errors import TracekitError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from tracekit.runs.run import Run

__all__ = ["one_run", "printer", "runs_at"]

_FILE_WIDTH = 160


def printer() -> Console:
    """A console; a file or a pipe, which has no width to fit, gets wide tables."""
    console = clean_console()
    if not console.is_terminal:
        console.width = _FILE_WIDTH
    return console


def runs_at(words: Sequence[str]) -> list[Run]:
    """The handovers of every session that the words mean.

    Of several sessions those that cannot be used are left out, with the reason on stderr; if none
    is left, that is an error.
    """
    from tracekit.runs.found import find_sessions
    from tracekit.runs.run import open_runs

    paths = find_sessions(words)
    runs: list[Run] = []
    with progress("decoding", len(paths)) as advance:
        for path in paths:
            try:
                runs += open_runs(path)
            except TracekitError as error:
                if len(paths) == 1:
                    raise
                say(f"left out: {error}")
            advance(1)
    if not runs:
        raise UsageError(f"none of the {len(paths)} sessions can be used: see above")
    return runs


def one_run(word: str) -> Run:
    """The last handover of one session."""
    from tracekit.runs.run import open_runs

    runs = open_runs(word)
    if len(runs) > 1:
        say(f"{word}: {len(runs)} handovers: this is about the last one")
    return runs[-1]
