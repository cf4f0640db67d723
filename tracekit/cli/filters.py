"""The options that choose events, shared by ``events`` and ``export``."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tracekit.errors import UsageError

if TYPE_CHECKING:
    from tracekit.timeline.filter import Filter

__all__ = ["build_filter", "filter_options"]

_F = TypeVar("_F", bound=Callable[..., Any])

_RANGE = re.compile(r"(\d{1,10})(?:-(\d{1,10}))?", re.ASCII)
_MOST = 1 << 22  # numbers of a list: as many as there are pids
_COMMA = re.compile(r",(?![^\[\]]*\])")  # not one of a set, [,]


def _numbers(_: click.Context, param: click.Parameter, given: tuple[str, ...]) -> frozenset[int]:
    """``0,2-3`` as numbers, those of all options."""
    numbers: set[int] = set()
    for part in (part.strip() for text in given for part in text.split(",")):
        m = _RANGE.fullmatch(part)
        first, last = (int(m[1]), int(m[2] or m[1])) if m else (1, 0)
        if first > last:
            raise click.BadParameter(f"{part!r} is no number and no range: write 1, or 0,2-3")
        if last - first + len(numbers) >= _MOST:
            raise click.BadParameter(f"{part!r} is too many: at most {_MOST:,} are listed")
        numbers.update(range(first, last + 1))
    return frozenset(numbers)


def _globs(_: click.Context, __: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    """``a,b`` as globs, those of all options; a comma in brackets is one of a set."""
    globs = (glob.strip() for text in given for glob in _COMMA.split(text))
    return tuple(glob for glob in globs if glob)


_OPTIONS = (
    click.option(
        "--boot", multiple=True, metavar="N,N-M", callback=_numbers, help="Only boots (0: oldest)."
    ),
    click.option(
        "--cpu", multiple=True, metavar="N,N-M", callback=_numbers, help="Only CPUs: 0,2-3."
    ),
    click.option(
        "--event",
        multiple=True,
        metavar="GLOB,…",
        callback=_globs,
        help="Only events like 'sched:*' or 'sys_*,irq:*'.",
    ),
    click.option(
        "--pid", multiple=True, metavar="N,N-M", callback=_numbers, help="Only tasks of these pids."
    ),
    click.option(
        "--comm", multiple=True, metavar="GLOB", help="Only tasks of that name (one an option)."
    ),
    click.option(
        "--from",
        "since",
        metavar="TIME",
        help="From TIME on: -1.5s, 200ms, or ns from the jump; a date (2026-11-28 20:38:25.5, with"
        " Z or +01:00 behind it where it is not local time); the name of a phase, mark or note"
        " ('device shutdown', jump+5ms).",
    ),
    click.option("--to", "until", metavar="TIME", help="Up to TIME; a phase's name is its end."),
    click.option("--grep", metavar="RE", help="Only where RE is found in 'EVENT ARGS'."),
    click.option(
        "--where",
        metavar="EXPR",
        help="Only what meets EXPR, on any column or argument: = != < <= > >= ~ (a glob, or a"
        " /regular expression/), in (A, B), and, or, not; a word alone is looked for anywhere.",
    ),
)


def filter_options(command: _F) -> _F:
    """Adds the filter options to a command; those that take lists can be repeated, too."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def build_filter(
    boot: frozenset[int],
    cpu: frozenset[int],
    event: tuple[str, ...],
    pid: frozenset[int],
    comm: tuple[str, ...],
    since: str | None,
    until: str | None,
    grep: str | None,
    where: str | None,
) -> Filter:
    """The filter that the options describe; :class:`UsageError` where one makes no sense."""
    from tracekit.timeline.filter import Filter

    if where:
        from tracekit.query.expr import parse

        parse(where)  # a mistake is reported before the session is decoded
    try:
        pattern = re.compile(grep) if grep else None
    except re.error as error:
        raise UsageError(f"--grep {grep!r}: not a regular expression: {error}") from None
    return Filter(
        boots=boot,
        cpus=cpu,
        events=event,
        pids=pid,
        comms=comm,
        since=since or None,
        until=until or None,
        grep=pattern,
        where=where or "",
    )
