"""systemd's token map: which unit's file descriptors a LUO session holds under which tokens.

Session ``systemd``, token 0: a memory file with JSON (``src/shared/luo-util.h`` in systemd's
source). Version 1: ``{"version": 1, "state": {}, "units": {UNIT: {"fdstore": [{"type": "fd",
"name": N, "token": T} | {"type": "luo_session", "name": N, "sessionName": S}]}}}``; before that one
object of lists by unit or control group, with ``fd_index`` and ``session_name``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tracekit.errors import ParseError
from tracekit.frozen import dataclass

__all__ = ["SESSION", "TOKEN", "StoredFile", "parse_token_map"]

SESSION, TOKEN = "systemd", 0  # LUO_SESSION_NAME, LUO_MAPPING_INDEX
_MOST = 1 << 14


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file descriptor of a unit's store: its ``token`` in the session, or a ``session``'s name.

    ``kind`` is what systemd calls it: ``fd`` or ``luo_session``.
    """

    unit: str
    name: str
    kind: str
    token: int | None
    session: str | None


def _first(entry: Mapping[str, Any], *names: str) -> Any:
    return next((entry[name] for name in names if name in entry), None)


def _entries(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    units = document.get("units")
    if "version" in document and isinstance(units, dict):
        for unit, state in units.items():
            yield unit, state.get("fdstore") if isinstance(state, dict) else None
    else:
        yield from document.items()


def parse_token_map(data: bytes, source: str = "systemd's token map") -> list[StoredFile]:
    """The stored files, in the map's order; entries of another shape are left out.

    Raises :class:`~tracekit.errors.ParseError` where it is no JSON object.
    """
    try:
        document = json.loads(data.rstrip(b"\0"))
    except (ValueError, RecursionError) as error:
        raise ParseError(f"{source}: no JSON: {error}") from error
    if not isinstance(document, dict):
        raise ParseError(f"{source}: no JSON object")
    found: list[StoredFile] = []
    for unit, stored in _entries(document):
        for entry in stored if isinstance(stored, list) else ():
            if not isinstance(entry, dict) or len(found) == _MOST:
                continue
            token, session = _first(entry, "token", "fd_index"), _first(
                entry, "sessionName", "session_name"
            )  # fmt: skip
            whole = isinstance(token, int) and not isinstance(token, bool) and 0 <= token < 1 << 64
            found.append(
                StoredFile(
                    unit, str(entry.get("name", "")), str(entry.get("type", "")),
                    token if whole else None,
                    session if isinstance(session, str) else None,
                )
            )  # fmt: skip
    return found
