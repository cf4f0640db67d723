"""The dataset on disk: Parquet files by kernel and day, and commits, which say what counts.

``commits/ID.json`` names the sessions and files that it added. A file that no commit names is of an
``add`` that was killed, and is nothing; so an add is whole or did not happen. Two processes at once
write commits of their own. Where a filesystem has locks they add no session twice; where it has
none, the first commit (by its id) that names a session has it, and readers leave out the other's
rows. ``DATASET/TABLE/kernel=K/date=D/ID.parquet`` is readable by anything that reads Parquet.
"""

from __future__ import annotations

import io
import json
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import pyarrow.parquet as pq

from tracekit.errors import SessionError, VersionError
from tracekit.fleet.place import Place, place_at
from tracekit.fleet.tables import SCHEMA_VERSION, Tables, handover_key, joined, sums_of
from tracekit.frozen import dataclass, field

__all__ = ["Added", "Bad", "Commit", "Dataset"]

_COMMITS = "commits"
_ABOUT = "fleet.json"
_ROWS = 1 << 17  # of a row group


@dataclass(frozen=True, slots=True)
class Bad:
    """A session that could not be added, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Added:
    """A decoded session, ready to be written: its rows by (kernel, date)."""

    fingerprint: str
    path: str
    handovers: int
    tables: Mapping[tuple[str, str], Tables]


@dataclass(frozen=True, slots=True)
class Commit:
    """``sessions``: fingerprint -> (path, handovers). ``files``: table -> names."""

    id: str
    sessions: Mapping[str, tuple[str, int]]
    files: Mapping[str, Sequence[str]]
    bad: tuple[Bad, ...]
    replaces: tuple[str, ...] = ()

    def encode(self) -> bytes:
        """The file's bytes."""
        document = {
            "schema": SCHEMA_VERSION,
            "sessions": {mark: list(about) for mark, about in self.sessions.items()},
            "files": {table: list(names) for table, names in self.files.items()},
            "bad": [[bad.path, bad.reason] for bad in self.bad],
            "replaces": list(self.replaces),
        }
        return json.dumps(document).encode() + b"\n"


def _parse(data: bytes, identity: str, where: str) -> Commit:
    try:
        document: Any = json.loads(data)
        version = int(document["schema"])
        if version > SCHEMA_VERSION:
            raise VersionError(
                f"{where}: a dataset of schema {version}; this tracekit reads up to "
                f"{SCHEMA_VERSION}: use a later one"
            )
        return Commit(
            identity,
            {str(m): (str(path), int(n)) for m, (path, n) in document["sessions"].items()},
            {str(t): [str(name) for name in names] for t, names in document["files"].items()},
            tuple(Bad(str(path), str(reason)) for path, reason in document["bad"]),
            tuple(str(one) for one in document["replaces"]),
        )
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise SessionError(f"{where}/{_COMMITS}/{identity}.json is damaged: {error}") from error


@dataclass
class Dataset:
    """A dataset at a place; :meth:`refresh` reads what others have added since."""

    place: Place
    commits: dict[str, Commit] = field(default_factory=dict)

    @classmethod
    def at(cls, where: str, *, make: bool = False) -> Dataset:
        """The dataset at a path or URL.

        Raises :class:`~tracekit.errors.SessionError` where there is none and ``make`` is false.
        """
        made = cls(place_at(where))
        made.refresh()
        if not made.commits and not make:
            raise SessionError(f"{where}: no fleet: 'tracekit fleet add' makes one")
        return made

    def refresh(self) -> None:
        """Read the commits that are new."""
        names = [n for n in self.place.names(_COMMITS) if n.endswith(".json")]
        ids = [name.removesuffix(".json") for name in names]
        for identity in ids:
            if identity not in self.commits:
                try:
                    data = self.place.read(f"{_COMMITS}/{identity}.json")
                except FileNotFoundError:
                    continue  # replaced by another since it was listed
                self.commits[identity] = _parse(data, identity, self.place.shown)
        gone = {old for commit in self.commits.values() for old in commit.replaces}
        self.commits = {i: c for i, c in sorted(self.commits.items()) if i in ids and i not in gone}

    # -- what is in it ------------------------------------------------------------------------

    @property
    def sessions(self) -> dict[str, str]:
        """Fingerprint -> path of every session."""
        return {mark: path for c in self.commits.values() for mark, (path, _) in c.sessions.items()}

    @property
    def bad(self) -> list[Bad]:
        """The sessions that could not be added, the newest reason of each."""
        latest = {bad.path: bad for c in self.commits.values() for bad in c.bad}
        good = set(self.sessions.values())
        return sorted((b for p, b in latest.items() if p not in good), key=lambda b: b.path)

    def files(self, table: str) -> dict[str, list[str]]:
        """Commit -> the files of a table."""
        return {i: list(c.files.get(table, ())) for i, c in self.commits.items()}

    def doubles(self) -> dict[str, list[int]]:
        """Commit -> the handovers in it that an earlier commit has, too: those do not count."""
        first: set[str] = set()
        found: dict[str, list[int]] = {}
        for identity, commit in self.commits.items():
            again = [(mark, n) for mark, (_, n) in commit.sessions.items() if mark in first]
            if again:
                found[identity] = [handover_key(m, k) for m, n in again for k in range(n)]
            first |= commit.sessions.keys()
        return found

    # -- adding -------------------------------------------------------------------------------

    def add(self, sessions: Iterable[Added], bad: Iterable[Bad]) -> Commit | None:
        """Add decoded sessions that are not there yet; None if there was nothing to add."""
        with self.place.lock():
            self.refresh()
            known = self.sessions
            new = {one.fingerprint: one for one in sessions if one.fingerprint not in known}
            return self._commit(list(new.values()), tuple(bad))

    def _commit(self, sessions: Sequence[Added], bad: tuple[Bad, ...]) -> Commit | None:
        told = {(b.path, b.reason) for b in self.bad}
        news = tuple(b for b in bad if (b.path, b.reason) not in told)
        if not sessions and not news:
            return None
        parts: dict[tuple[str, str], list[Tables]] = {}
        for one in sessions:
            for where, tables in one.tables.items():
                parts.setdefault(where, []).append(tables)
        marks = {one.fingerprint: (one.path, one.handovers) for one in sessions}
        return self.commit_parts(marks, ((w, joined(some)) for w, some in parts.items()), news)

    def commit_parts(
        self,
        sessions: Mapping[str, tuple[str, int]],
        parts: Iterable[tuple[tuple[str, str], Tables]],
        bad: tuple[Bad, ...] = (),
        replaces: tuple[str, ...] = (),
    ) -> Commit:
        """Write tables, each part of one (kernel, date) and sorted by handover, as one commit."""
        identity = f"{time.time_ns():020d}-{secrets.token_hex(4)}"
        if _ABOUT not in self.place.names(""):
            about = {"tool": "tracekit", "what": "fleet", "schema": SCHEMA_VERSION}
            self.place.write(_ABOUT, json.dumps(about).encode() + b"\n")
        files: dict[str, list[str]] = {}
        for number, ((kernel, date), tables) in enumerate(parts):
            where = f"kernel={quote(kernel, safe='')}/date={quote(date, safe='')}"
            for table, rows in {**tables, "sums": sums_of(tables)}.items():
                name = f"{table}/{where}/{identity}-{number}.parquet"
                out = io.BytesIO()
                pq.write_table(rows, out, compression="zstd", row_group_size=_ROWS)
                self.place.write(name, out.getvalue())
                files.setdefault(table, []).append(name)
        commit = Commit(identity, dict(sessions), files, bad, replaces)
        self.place.write(f"{_COMMITS}/{identity}.json", commit.encode())
        self.commits[identity] = commit
        return commit
