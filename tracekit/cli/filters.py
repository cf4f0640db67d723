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

_OPTIONS = (
    click.option("--boot", type=int, multiple=True, metavar="N", help="Only boot N (0: oldest)."),
    click.option("--cpu", type=int, multiple=True, metavar="N", help="Only CPU N."),
    click.option(
        "--event", multiple=True, metavar="GLOB", help="Only events like 'sched:*' or 'sys_*'."
    ),
    click.option("--pid", type=int, multiple=True, metavar="N", help="Only the task with pid N."),
    click.option("--comm", multiple=True, metavar="GLOB", help="Only tasks of that name."),
    click.option(
        "--from", "since", metavar="TIME", help="From TIME on: -1.5s, 200ms, or ns; 0 is the jump."
    ),
    click.option("--to", "until", metavar="TIME", help="Up to TIME."),
    click.option("--grep", metavar="RE", help="Only where RE is found in 'EVENT ARGS'."),
    click.option(
        "--where",
        metavar="EXPR",
        help="Only what meets EXPR, on any column or argument: = != < <= > >= ~ (a glob, or a"
        " /regular expression/), in (A, B), and, or, not; a word alone is looked for anywhere.",
    ),
)


def filter_options(command: _F) -> _F:
    """Adds the filter options to a command; those that list values can be repeated."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def build_filter(
    boot: tuple[int, ...],
    cpu: tuple[int, ...],
    event: tuple[str, ...],
    pid: tuple[int, ...],
    comm: tuple[str, ...],
    since: str | None,
    until: str | None,
    grep: str | None,
    where: str | None,
) -> Filter:
    """The filter that the options describe; :class:`UsageError` where one makes no sense."""
    from tracekit.query.expr import parse
    from tracekit.timeline.filter import Filter, parse_time

    parse(where or "")  # a mistake is reported before the session is decoded
    try:
        pattern = re.compile(grep) if grep else None
    except re.error as error:
        raise UsageError(f"--grep {grep!r}: not a regular expression: {error}") from None
    return Filter(
        boots=frozenset(boot),
        cpus=frozenset(cpu),
        events=event,
        pids=frozenset(pid),
        comms=comm,
        since=parse_time(since) if since else None,
        until=parse_time(until) if until else None,
        grep=pattern,
        where=where or "",
    )
