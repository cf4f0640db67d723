"""``tracekit compare``: two handovers, or two sets of them, beside each other."""

from __future__ import annotations

from pathlib import Path

import click

from tracekit.cli.common import say, show_json, working
from tracekit.cli.runs.opened import one_run, printer, runs_at
from tracekit.errors import UsageError

__all__ = ["command"]

_BY = ("kernel", "host", "host-type", "clock")


def _is_pair(words: tuple[str, ...]) -> bool:
    from tracekit.runs.found import is_session

    def one(word: str) -> bool:
        return is_session(Path(word)) or not (Path(word).is_dir() or set(word) & set("*?["))

    return len(words) == 2 and all(map(one, words))


def _compare_pair(a: str, b: str, as_json: bool) -> None:
    from tracekit.cli.printed.compared import render_pair
    from tracekit.runs.pair import compare

    with working("decoding"):
        pair = compare(one_run(a), one_run(b))
    if as_json:
        show_json(pair.as_dict())
    else:
        render_pair(pair, printer())


def _compare_sets(
    sessions: tuple[str, ...], others: tuple[str, ...], by: str | None, as_json: bool
) -> None:
    from tracekit.cli.printed.compared import render_comparison
    from tracekit.runs.sets import by_group, compare_sets

    a = runs_at(sessions)
    b = runs_at(others) if others else []
    made = by_group(a, b, by) if by else [compare_sets(a, b)]
    if not made:
        raise UsageError(f"by {by} there is one group only, or none that both sets have")
    if as_json:
        show_json({"comparisons": [one.as_dict() for one in made]})
        return
    console = printer()
    for number, one in enumerate(made):
        if number:
            console.print()
        render_comparison(one, console)
    few = {len(one.a) for one in made} | {len(one.b) for one in made}
    if min(few) < 10:
        say("the rank test needs about ten runs a side; below that, only what lies wholly apart "
            "is told")  # fmt: skip


@click.command("compare")
@click.argument("sessions", nargs=-1, required=True, type=click.Path(readable=False))
@click.option(
    "--with", "others", multiple=True, metavar="SESSION", type=click.Path(readable=False),
    help="The second set: a session, a folder or a pattern. May be repeated.",
)  # fmt: skip
@click.option("--by", type=click.Choice(_BY), help="Group by group, or groups with each other.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")
def command(
    sessions: tuple[str, ...], others: tuple[str, ...], by: str | None, as_json: bool
) -> None:
    """Compare two handovers, or two sets of them.

    Two SESSIONS: totals, phases, devices, initcalls and units beside each other, by name; what
    differs by less than both clocks may be off is "within error". The last line says what the
    difference is made of.

    With --with: the medians of two sets, their quartiles, and a rank test (Mann-Whitney, adjusted
    by Holm for all tests of a kind, 1 %). --by compares within each kernel, host, host type or
    clock that both have; without --with, the groups of one set with the first of them.

    \b
      tracekit compare BEFORE AFTER
      tracekit compare before/ --with after/
      tracekit compare 'runs/*' --by kernel
      tracekit compare old/ --with new/ --json | jq -r '.comparisons[].sentence'
    """
    if others or by:
        _compare_sets(sessions, others, by, as_json)
    elif _is_pair(sessions):
        _compare_pair(sessions[0], sessions[1], as_json)
    else:
        raise UsageError("two sessions, or two sets: compare A… --with B…, or --by kernel")
