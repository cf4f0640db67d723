"""What a boot said at an earlier save and no longer says at its newest: ``boots/N/earlier/``.

The kernel forgets: task names are overwritten, events and modules are removed. The record does not,
so a boot's knowledge in a session only grows. The boot's own files are the newest; beside them are

- ``earlier/NAME`` for every table of lines (``saved_cmdlines``, ``kallsyms``, ...): the lines that
  the newest no longer has. A line that begins with ``#`` begins those that were gone at one save;
  the newest come first.
- ``earlier/formats.json``: the formats of events that were removed or defined anew, the newest
  first.

Pure functions over the bytes of these files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict

from tracekit.frozen import dataclass

__all__ = [
    "FORMATS",
    "MAX_FORMATS",
    "MAX_LINES",
    "EarlierFormat",
    "add_formats",
    "add_lines",
    "earlier_file",
    "event_id",
    "read_formats",
    "sections",
    "write_formats",
]

FORMATS = "formats.json"
MAX_LINES = 1 << 18  # of one table: a recorder may see the tasks of months
MAX_FORMATS = 1 << 13
_ID = re.compile(r"^ID:[ \t]*([0-9]{1,5})[ \t]*$", re.M)


def earlier_file(boot: int, name: str) -> str:
    """The name in the session of a boot's ``earlier/NAME``."""
    return f"boots/{boot}/earlier/{name}"


# -- tables of lines ------------------------------------------------------------------------------


def sections(data: bytes) -> list[tuple[bytes, list[bytes]]]:
    """(the line that begins it, its lines) of every section, the newest first."""
    found: list[tuple[bytes, list[bytes]]] = []
    for line in data.split(b"\n"):
        if line.startswith(b"#"):
            found.append((line, []))
        elif line:
            if not found:
                found.append((b"#", []))
            found[-1][1].append(line)
    return found


def add_lines(
    earlier: bytes,
    gone: Iterable[bytes],
    present: Callable[[bytes], bool],
    when: str,
) -> tuple[bytes, int]:
    """(``earlier`` with a section of the lines that are now ``gone``, how many were left out).

    Every line is kept once, where it was seen last, and not at all while it is ``present``. Of
    more than :data:`MAX_LINES` the oldest are left out. ``when`` is said of the section.
    """
    seen: set[bytes] = set()
    parts: list[bytes] = []
    left_out = 0
    new = (f"# gone {when}".encode(), list(gone))
    for head, lines in [new, *sections(earlier)]:
        kept = [line for line in dict.fromkeys(lines) if line not in seen and not present(line)]
        room = MAX_LINES - len(seen)
        left_out += max(0, len(kept) - room)
        kept = kept[:room]
        seen.update(kept)
        if kept:
            parts += [head, *kept]
    return b"".join(part + b"\n" for part in parts), left_out


# -- event formats --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EarlierFormat:
    """The text of an ``events/SYSTEM/NAME/format`` that is no longer that."""

    system: str
    name: str
    text: str


def event_id(text: str) -> int | None:
    """The event's id in the text of a ``format`` file, None where there is none."""
    m = _ID.search(text)
    return int(m[1]) if m else None


def read_formats(data: bytes) -> list[EarlierFormat]:
    """The formats in ``earlier/formats.json``, the newest first.

    Raises ValueError for what is no such file.
    """
    try:
        document = json.loads(data)
        entries = document["formats"]
        found = [EarlierFormat(e["system"], e["name"], e["text"]) for e in entries[:MAX_FORMATS]]
    except (LookupError, TypeError, RecursionError) as error:
        raise ValueError(f"no list of formats: {error}") from error
    if not all(isinstance(text, str) for f in found for text in (f.system, f.name, f.text)):
        raise ValueError("a format that is no text")
    return found


def add_formats(
    earlier: Sequence[EarlierFormat], gone: Iterable[EarlierFormat]
) -> list[EarlierFormat]:
    """``gone``, then ``earlier`` without those again; at most :data:`MAX_FORMATS`."""
    return list(dict.fromkeys([*gone, *earlier]))[:MAX_FORMATS]


def write_formats(formats: Iterable[EarlierFormat]) -> bytes:
    """The bytes of ``earlier/formats.json``."""
    document = {"formats": [asdict(f) for f in formats]}
    return json.dumps(document, indent=1).encode() + b"\n"
