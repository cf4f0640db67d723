"""``tracekit critical-chain``: what a blackout waited for, link by link."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

import tracekit
from tracekit.cli.common import say, show, show_json, working
from tracekit.cli.filters import build_filter, filter_options
from tracekit.errors import UsageError

if TYPE_CHECKING:
    from tracekit.report.critical.links import Chain, Evidence, Link

__all__ = ["command"]

_LEAST = 0.03  # of a phase: shorter links inside it are summed up
_LEAST_NESTED = 0.2  # of a call, or of the time that another task was waited for
_DEEPEST = 6
_LEGEND = """\
The time at which a link begins is printed after the "@" character, 0 is the jump.
The time it took is printed after the "+" character. A "?" is where no event tells.
"""
_SIGN = {"unknown": "? "}


def _relative(chain: Chain, ns: int | None) -> int | None:
    return ns if ns is None or chain.zero_ns is None else ns - chain.zero_ns


def _told(evidence: Sequence[Evidence]) -> str:
    """Which events tell: ``[sched_switch, sched_waking; CPU 0, 1]``."""
    names = dict.fromkeys(e.event.partition(":")[2] for e in evidence)
    cpus = dict.fromkeys(str(e.cpu) for e in evidence)
    return f"  [{', '.join(names)}; CPU {', '.join(cpus)}]" if names else ""


def _line(chain: Chain, link: Link) -> str:
    from tracekit.text import duration, on_one_line

    mark = _SIGN.get(link.kind, "")
    if link.start_ns is None and link.duration_ns is None:
        return f"{mark}{on_one_line(link.what)}{_told(link.evidence)}"
    begins = duration(_relative(chain, link.start_ns)).replace(" ", "")
    took = duration(link.duration_ns).replace(" ", "")
    what = on_one_line(link.what)
    if len(link.inside) == 1 and link.inside[0].duration_ns == link.duration_ns:
        what += f": {_SIGN.get(link.inside[0].kind, '')}{on_one_line(link.inside[0].what)}"
    return f"{mark}{what} @{begins} +{took}{on_one_line(_told(link.evidence))}"


def _inside(
    chain: Chain, link: Link, least_ns: float, lead: str, deep: int = 0
) -> Iterator[str]:  # fmt: skip
    """What a link consists of, the latest first; short ones in one line."""
    from tracekit.text import duration

    if deep >= _DEEPEST:
        return
    if len(link.inside) == 1 and link.inside[0].duration_ns == link.duration_ns:
        return  # it stands in the line of the link itself
    short = 0, 0
    for one in reversed(link.inside):
        if (one.duration_ns or 0) < least_ns:
            short = short[0] + 1, short[1] + (one.duration_ns or 0)
            continue
        yield f"{lead}· {_line(chain, one)}"
        deeper = min(least_ns, _LEAST_NESTED * (one.duration_ns or 0))
        yield from _inside(chain, one, deeper, f"{lead}  ", deep + 1)
    if short[0]:
        yield f"{lead}· … {short[0]} shorter, +{duration(short[1]).replace(' ', '')} in all"


def _chain_lines(chain: Chain, every: bool) -> Iterator[str]:
    """The chain as systemd-analyze prints one: what was waited for last stands first."""
    from tracekit.text import duration, measured, on_one_line

    took, error = measured(chain.blackout_ns, chain.blackout_error_ns)
    yield f"boot {chain.old} → {chain.new}: blackout {took} {error}".rstrip() + f"; {chain.account}"
    end = chain.end
    who = f"{end.comm or '<...>'}-{end.pid} {end.args}" if end else "not recorded"
    when = "" if end is None else f" @{duration(_relative(chain, end.ts_ns)).replace(' ', '')}"
    yield f"first user process: {on_one_line(who)}{when}"
    yield from _links(chain, every)


def _event_lines(chain: Chain, every: bool) -> Iterator[str]:
    """The chain back from one event."""
    from tracekit.text import duration, on_one_line

    end = chain.end
    assert end is not None
    when = duration(_relative(chain, end.ts_ns)).replace(" ", "")
    who = f"{end.comm or '<...>'}-{end.pid}"
    told = f"{duration(chain.known_ns)} with evidence, {duration(chain.unknown_ns)} unknown"
    yield f"boot {end.boot}: {on_one_line(f'{who} {end.event} {end.args}')} @{when}; {told}"
    yield from _links(chain, every)


def _links(chain: Chain, every: bool) -> Iterator[str]:
    from tracekit.text import on_one_line

    for number, link in enumerate(reversed(chain.links)):
        lead = " " * number
        yield f"{lead}└─{_line(chain, link)}"
        least = 0 if every else _LEAST * (link.duration_ns or 0)
        yield from _inside(chain, link, least, f"{lead}    ")
    for note in chain.notes:
        yield f"{on_one_line(note)}"


@click.command("critical-chain")
@click.argument("session", type=click.Path(readable=False))
@filter_options
@click.option("--all", "every", is_flag=True, help="Every link, however short.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts: every link.")
def command(session: str, every: bool, as_json: bool, **filters: Any) -> None:
    """Show what the blackout of SESSION waited for, from the first user process back in time.

    As 'systemd-analyze critical-chain': each line waited for the one below it. The spine are the
    phases from the reboot call to the first user process; in them the task that goes that way, its
    calls, and what it did: it ran, waited for a CPU, or slept until something woke it. Where that
    was a task, what that one did meanwhile. After @ stands when a link begins (0 is the jump),
    after + how long it took, in [] the events that tell.

    Nothing is guessed: what no event tells of is a link with a ?. Waits need sched:sched_switch,
    who ended them sched:sched_waking; in the new kernel both have to be on its command line
    (trace_event=).

    \b
    With conditions, back from the last event that meets them instead, as far as --from:
      tracekit critical-chain SESSION --event sched_process_exec --comm init --from -2s
    """
    from tracekit.browse.coverage import losses_of
    from tracekit.report.critical.chain import chain_to, critical_chains
    from tracekit.timeline.filter import Filter

    wanted = build_filter(**filters)
    with working("decoding"):
        recording = tracekit.open(session)
        losses = losses_of(recording)
        if wanted == Filter():
            chains = critical_chains(recording, losses)
        else:
            rows = recording.chosen(wanted)
            if not len(rows):
                raise UsageError(
                    "no event meets these conditions: there is nothing to go back from"
                )
            since = recording.select(Filter(since=wanted.since))[:1]
            begin = int(recording.axis.ts_ns[since[0]])
            chains = (chain_to(recording, losses, int(rows[-1]), begin),)
    if as_json:
        show_json({"chains": [chain.as_dict() for chain in chains]})
        return
    if not chains:
        say("one boot, no jump in this session: there is no blackout to explain")
        return
    show(_LEGEND)
    lines = _chain_lines if wanted == Filter() else _event_lines
    show("\n".join(line for chain in chains for line in lines(chain, every)))
