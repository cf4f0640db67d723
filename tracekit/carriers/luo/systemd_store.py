"""What systemd (261 and later) preserves of its services' file descriptor stores.

systemd puts them into the LUO session ``systemd``: token 0 is a memfd with a JSON document that
maps units to entries with tokens (``src/shared/luo-util.h`` in systemd). Under such a systemd the
session is its own; a unit then gets its descriptors from ``$LISTEN_FDS``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tracekit.errors import SourceError
from tracekit.frozen import dataclass

__all__ = ["MAPPING", "SESSION", "Stored", "listed", "passed_fds", "stored"]

SESSION = "systemd"
MAPPING = 0  #: the token of the document
_VERSION = 1
_FIRST_FD = 3  # SD_LISTEN_FDS_START
_MOST = 4096  # descriptors that a service may be given, and entries that are read
_U64 = 1 << 64


@dataclass(frozen=True, slots=True)
class Stored:
    """A descriptor that was in a unit's store: of token ``token``, or a LUO session by name."""

    unit: str
    name: str
    token: int | None
    session: str


def stored(document: bytes) -> list[Stored]:
    """The entries of systemd's document, those that make no sense left out.

    Both forms are read: ``{"version", "units": {UNIT: {"fdstore": [...]}}}``, and the earlier
    ``{UNIT: [...]}``. Raises :class:`~tracekit.errors.SourceError` for anything else.
    """
    try:
        root = json.loads(document)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"systemd's list of preserved files is no JSON: {error}") from error
    if not isinstance(root, Mapping):
        raise SourceError("systemd's list of preserved files is no JSON object")
    version = root.get("version")
    if isinstance(version, int) and version > _VERSION:
        raise SourceError(
            f"systemd's list of preserved files has version {version}; {_VERSION} is known"
        )
    units = root.get("units") if "version" in root else root
    found: list[Stored] = []
    for unit, about in units.items() if isinstance(units, Mapping) else ():
        entries = about.get("fdstore") if isinstance(about, Mapping) else about
        found += _entries(str(unit), entries)
    return found


def _entries(unit: str, entries: object) -> Iterator[Stored]:
    for entry in entries[:_MOST] if isinstance(entries, list) else ():
        if not isinstance(entry, Mapping):
            continue
        token, session = entry.get("token"), entry.get("sessionName")
        sound = type(token) is int and MAPPING < token < _U64
        if entry.get("type") == "fd" and sound:
            yield Stored(unit, str(entry.get("name")), token, "")
        elif entry.get("type") == "luo_session" and isinstance(session, str):
            yield Stored(unit, str(entry.get("name")), None, session)


def listed(entries: list[Stored], name: str) -> Stored | None:
    """Ours among the entries: of a unit ``tracekit...``, under the name of the session."""
    ours = (e for e in entries if e.unit.startswith("tracekit") and e.name == name)
    return next(ours, None)


def passed_fds(environment: Mapping[str, str], pid: int) -> dict[str, int]:
    """Name -> descriptor of what systemd has given this process; none where it gave nothing."""
    count = environment.get("LISTEN_FDS", "")
    if environment.get("LISTEN_PID") != str(pid) or not count.isdecimal() or len(count) > 4:
        return {}
    names: list[Any] = environment.get("LISTEN_FDNAMES", "").split(":")
    numbers = range(_FIRST_FD, _FIRST_FD + min(int(count), _MOST))
    return {name: number for name, number in zip(names, numbers, strict=False) if name}
