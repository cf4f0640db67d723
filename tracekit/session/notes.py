"""What users write into a session: bookmarks with notes, and named filters.

They are in ``notes.json`` beside the manifest, which does not list it: it is not evidence.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tracekit.errors import SessionError, SourceError
from tracekit.frozen import dataclass, field
from tracekit.session.parts import replacing
from tracekit.session.reader import Session

__all__ = ["Bookmark", "Notes"]

_FILE = "notes.json"
_LONGEST = 10_000  # characters of a note, of a filter (as expressions have), of its name
_MOST = 10_000  # of either kind


def _text(value: object) -> str:
    text = str(value)
    if len(text) > _LONGEST:  # cut, a filter would be another one
        raise ValueError(f"a text of {len(text):,} characters; at most {_LONGEST:,} are kept")
    return text


@dataclass(frozen=True, slots=True)
class Bookmark:
    """An event, identified by boot, CPU and raw stamp; ``ts_ns`` is its time when it was noted."""

    boot: int
    cpu: int
    ts_raw: int
    ts_ns: int
    note: str


@dataclass
class Notes:
    """The notes of a session; :meth:`save` after every change.

    ``path`` is None where the session is an archive, which keeps none. ``unread`` says why the
    notes that exist could not be read: they are then not overwritten. ``lanes``: the names of those
    that the timeline shows, in their order; none: as at first.
    """

    path: Path | None
    bookmarks: list[Bookmark] = field(default_factory=list)
    filters: dict[str, str] = field(default_factory=dict)
    lanes: list[str] = field(default_factory=list)
    unread: str = ""

    @classmethod
    def load(cls, session: Session) -> Notes:
        """The notes kept in ``session``; none where there are none."""
        notes = cls(session.path / _FILE if session.path.is_dir() else None)
        if session.has(_FILE):
            try:
                notes._take(session.json(_FILE))
            except (SessionError, ArithmeticError, LookupError, TypeError, ValueError) as error:
                notes.bookmarks, notes.filters, notes.lanes = [], {}, []
                notes.unread = f"{_FILE} is damaged and left as it is: {error}"
        return notes

    def _take(self, document: Mapping[str, Any]) -> None:
        bookmarks, filters = list(document.get("bookmarks", [])), dict(document.get("filters", {}))
        lanes = list(document.get("lanes", []))
        if (most := max(len(bookmarks), len(filters), len(lanes))) > _MOST:
            raise ValueError(f"{most:,} notes of a kind; at most {_MOST:,} are kept")
        for entry in bookmarks:
            numbers = (int(entry[key]) for key in ("boot", "cpu", "ts_raw", "ts_ns"))
            boot, cpu, raw, ns = (n for n in numbers if -(1 << 63) <= n < 1 << 64)
            self.bookmarks.append(Bookmark(boot, cpu, raw, ns, _text(entry["note"])))
        for name, text in filters.items():
            self.filters[_text(name)] = _text(text)
        self.lanes += map(_text, lanes)

    def save(self) -> None:
        """Write them into the session; raises :class:`~tracekit.errors.SourceError`."""
        if self.path is None:
            raise SourceError(
                "this session is an archive, which keeps no notes: unpack it "
                "('tracekit demo -o DIR' does that for the one that ships) and open the directory"
            )
        if self.unread:
            raise SourceError(f"{self.path.parent}: {self.unread}; remove it to keep new notes")
        document: dict[str, Any] = {
            "bookmarks": [asdict(b) for b in self.bookmarks], "filters": self.filters,
        }  # fmt: skip
        if self.lanes:
            document["lanes"] = self.lanes
        try:
            Notes(None)._take(document)  # only what can be read again is kept
        except ValueError as error:
            raise SourceError(f"not kept: {error}") from error
        try:
            with replacing(self.path, 0o600) as part:
                part.write(json.dumps(document, indent=1).encode() + b"\n")
        except OSError as error:
            raise SourceError(f"{self.path}: cannot be written: {error.strerror}") from error
