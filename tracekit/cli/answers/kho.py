"""``tracekit kho``: what KHO costs, carries and hands over, on this machine or in a session."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import pairwise
from textwrap import wrap
from typing import TYPE_CHECKING

import click

from tracekit.cli.common import show, show_json, sysroot_option
from tracekit.errors import UsageError

if TYPE_CHECKING:
    from tracekit.capture.kho.arrival import Arrival
    from tracekit.capture.kho.evidence import Evidence
    from tracekit.kho.item import Item
    from tracekit.session import Session

__all__ = ["command"]

_DEEP = 12  # levels that are indented
_LABEL = 26  # cells
_WIDTH = 100  # of notes
_BOOT_ID = "proc/sys/kernel/random/boot_id"


def _wrapped(line: str) -> list[str]:
    """A line of a note, wrapped where it is long; those of the picture are not."""
    return wrap(line, _WIDTH) if len(line) > _WIDTH else [line]


def _lines(items: Iterable[Item], depth: int = 0) -> Iterator[str]:
    """Items as indented lines; a note stands below the section it is on."""
    for one in items:
        indent = "  " * min(depth, _DEEP)
        label = f"{indent}{one.label}"
        mark = "! " if one.amiss and not one.children else ""
        yield f"{label:{_LABEL}}  {mark}{one.value}".rstrip()
        if one.note and (depth == 0 or one.amiss):
            lines = one.note.splitlines()
            yield from (f"{indent}  {part}" for line in lines for part in _wrapped(line))
        yield from _lines(one.children, depth + 1)


def _show(evidence: Evidence, before: Evidence | None) -> None:
    from tracekit.capture.kho.inspect import sections

    show(f"KHO: {evidence.where}")
    for section in sections(evidence, before):
        show("\n" + "\n".join(_lines([section])))


def _before(evidence: Evidence, boot_id: str) -> Evidence | None:
    """The kernel before this one, where the session that its command line names has it."""
    from tracekit.capture.cmdline.session_param import named_session
    from tracekit.errors import SessionError
    from tracekit.session import Session

    name = named_session(evidence.cmdline)
    if name is None or not name.startswith("/"):
        return None
    try:
        session = Session.open(name)
        boots = [boot for boot in session.boots if session.kernel(boot).get("boot_id") != boot_id]
        return _of_boot(session, boots[-1]) if boots else None
    except SessionError:
        return None


def _of_boot(session: Session, boot: int) -> Evidence:
    from tracekit.capture.kho.saved import from_session
    from tracekit.errors import SessionError

    try:
        kernel = session.kernel(boot)
    except SessionError:
        kernel = {}
    return from_session(session, boot, kernel)


def _from_session(path: str) -> list[Evidence]:
    from tracekit.session import Session

    session = Session.open(path)
    return [_of_boot(session, boot) for boot in session.boots]


def _arrivals(boots: list[Evidence]) -> list[Arrival]:
    from tracekit.capture.kho.arrival import compare

    return [compare(old, new) for old, new in pairwise(boots)]


def _show_arrivals(arrivals: list[Arrival]) -> None:
    for arrival in arrivals:
        show("\n".join(_lines(arrival.items())))
        show("")


@click.command()
@sysroot_option
@click.option("--diff", is_flag=True, help="What each kernel of SESSION handed on, and what came.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON on stdout.")
@click.argument("session", required=False, type=click.Path(readable=False))
def command(sysroot: str, diff: bool, as_json: bool, session: str | None) -> None:
    """What KHO (Kexec HandOver) costs, carries and hands over.

    Whether it is on, and why; the memory that its scratch areas take, and what to do about that;
    every preserved page, by order and range, in a picture of physical memory; every blob; the
    sessions and files of the Live Update Orchestrator; devices that would be left running. Changes
    nothing. On the running machine it needs root, and says what it cannot see without.

    \b
      tracekit kho                      this machine
      tracekit kho SESSION              every boot of a session
      tracekit kho --diff SESSION       what was handed on, and what of it arrived
      tracekit kho --sysroot DIR        a saved tree shaped like /
    """
    from tracekit.capture.kho.evidence import from_machine
    from tracekit.capture.kho.inspect import as_json as document_of
    from tracekit.sysroot import Sysroot

    if session is not None and sysroot != "/":
        raise UsageError("name a session or a saved tree (--sysroot), not both")
    if diff and session is None:
        raise UsageError("--diff compares the boots of a session: name it")
    if session is None:
        with ExitStack() as stack:
            root = Sysroot(sysroot)
            evidence = from_machine(root, stack, holders=True)
            boot_id = root.text(_BOOT_ID).strip() if root.live and root.exists(_BOOT_ID) else ""
            before = _before(evidence, boot_id) if boot_id else None
            if as_json:
                show_json(document_of(evidence, before))
            else:
                _show(evidence, before)
        return
    boots = _from_session(session)
    if diff:
        arrivals = _arrivals(boots)
        if as_json:
            show_json({"jumps": [one.as_dict() for one in arrivals]})
        elif arrivals:
            _show_arrivals(arrivals)
        else:
            show("one boot, no jump in this session")
        return
    befores: list[Evidence | None] = [None, *boots]
    if as_json:
        documents = [document_of(b, a) for a, b in zip(befores, boots, strict=False)]
        show_json({"session": session, "boots": documents})
        return
    for number, (before, evidence) in enumerate(zip(befores, boots, strict=False)):
        show("\n" if number else "", nl=False)
        _show(evidence, before)
