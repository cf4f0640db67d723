"""The kernel's own copy of an earlier boot's buffer: what ``recover`` saved of it.

``trace_instance=NAME=OTHER`` copies OTHER's buffer before anything is recorded into that.
``boots/N/backup/NAME/`` of the boot that recorded has the copy's counters as they were found, and
its pages where they could be read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from tracekit.errors import SessionError
from tracekit.frozen import dataclass
from tracekit.timeline.boot import Boot
from tracekit.timeline.saved.counters import parse_stats

__all__ = ["Backup", "read_backups"]

_CPU = re.compile(r"per_cpu/cpu([0-9]{1,4})/(stats|trace_pipe_raw)")


@dataclass(frozen=True, slots=True)
class Backup:
    """A copy of the instance ``of``: its counters by CPU, and the files with its pages."""

    name: str
    of: str
    counted: Mapping[int, Mapping[str, int]]
    pages: Mapping[int, str]


def read_backups(boot: Boot) -> list[Backup]:
    """The copies of this boot's buffers that the session holds."""
    session, base = boot.session, f"boots/{boot.index}/backup/"
    backups = []
    for path in session.list(base):
        name, _, file = path.removeprefix(base).partition("/")
        if file != "about.json":
            continue
        try:
            of = session.json(path).get("of")
        except SessionError as error:
            boot.note("backup-unreadable", name, str(error))
            continue
        counted: dict[int, Mapping[str, int]] = {}
        pages: dict[int, str] = {}
        for rel in session.list(f"{base}{name}/"):
            match = _CPU.fullmatch(rel.removeprefix(f"{base}{name}/"))
            if match and match[2] == "stats":
                counted[int(match[1])] = parse_stats(
                    boot.text(rel.removeprefix(f"boots/{boot.index}/"))
                )
            elif match:
                pages[int(match[1])] = rel
        backups.append(Backup(name, of if isinstance(of, str) else "", counted, pages))
    return backups
