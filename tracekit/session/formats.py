"""The formats of events: 1,500 to 3,000 small files a boot, stored once by content.

``formats/ID.tar.zst`` is a tar archive of files below a ``tracefs/events``; ID is the sha256 of the
archive, unpacked, cut to 32 digits. ``boots/N/formats.json`` lists the archives that boot N's files
are in: ``archives``, of which the last that has a name counts, and ``without``, the names that
archives have and the boot has not. So boots share what is the same, and a save that brings a few
formats adds a small archive. To readers they are files as they were: ``tracefs/events/...``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import lru_cache, partial
from typing import NamedTuple

from tracekit.errors import SessionError
from tracekit.once import Once
from tracekit.session.names import check_name, strip_suffix
from tracekit.session.packing.tar import tar_archive, tar_members

__all__ = ["ARCHIVES", "Formats", "Plan", "events_of", "list_file", "listed_boots"]

ARCHIVES = "formats/"
_ID = re.compile(r"[0-9a-f]{32}")
_ARCHIVE = re.compile(r"formats/([0-9a-f]{32})\.tar")
_LIST = re.compile(r"boots/([0-9]{1,3})/formats\.json")
_BOOT = re.compile(r"boots/([0-9]{1,3})/")
_PATH = re.compile(r"boots/([0-9]{1,3})/tracefs/events/(.+)", re.S)
_MAX_FILES = 1 << 20  # formats of all boots: 256 boots, of which each has 1,500 to 3,000
_MAX_ARCHIVES = 8  # that a boot's formats are in; more are put together
_MOST_ARCHIVES = 64  # that a list may have
_FEWEST = 16  # formats that make another boot's archive worth to be named
_NOTHING = "listed by a boot, but it is not there, or holds nothing"

Files = Mapping[str, bytes]


def list_file(boot: int) -> str:
    """The name in the session of the list of a boot's archives."""
    return f"boots/{boot}/formats.json"


def archive_file(identity: str) -> str:
    """The name in the session of an archive, without the suffix of its compression."""
    return f"{ARCHIVES}{identity}.tar"


def events_of(boot: int) -> str:
    """What the names of a boot's formats begin with."""
    return f"boots/{boot}/tracefs/events/"


def listed_boots(files: Iterable[str]) -> list[int]:
    """The boots of a session's files that have a list of archives."""
    found = (_LIST.fullmatch(name) for name in files)
    return sorted(int(m[1]) for m in found if m)


def _archives(files: Iterable[str]) -> list[str]:
    """What identifies each archive among a session's files."""
    found = (_ARCHIVE.fullmatch(strip_suffix(name)) for name in files)
    return [m[1] for m in found if m]


class _Listed(NamedTuple):
    archives: tuple[str, ...] = ()
    without: frozenset[str] = frozenset()


class Plan(NamedTuple):
    """What to write so that a boot's formats are as wanted: an archive, if need be, and its list.

    ``archive`` is (its name, its bytes); ``listed`` the bytes of the list, None where all is there.
    """

    archive: tuple[str, bytes] | None
    listed: bytes | None


def _parse(data: bytes) -> _Listed:
    """A list; raises ValueError for what is none."""
    try:
        document = json.loads(data)
        archives, without = document["archives"], document["without"]
        sound = (
            all(isinstance(listed, list) for listed in (archives, without))
            and len(archives) <= _MOST_ARCHIVES
            and all(isinstance(name, str) for name in (*archives, *without))
            and all(_ID.fullmatch(name) for name in archives)
        )
    except (LookupError, TypeError, RecursionError) as error:
        raise ValueError(f"no list of archives: {error}") from error
    if not sound:
        raise ValueError("no list of archives")
    return _Listed(tuple(archives), frozenset(without))


def _sound_name(name: str) -> bool:
    try:
        check_name(name)
    except SessionError:
        return False
    return True


@lru_cache(4)  # sessions of the same kernels have the same
def _known(archive: Once[bytes]) -> Files:
    return _unpacked(archive.take())


def _unpacked(archive: bytes) -> Files:
    """The files in an archive, but those whose names no file of a session may have.

    Raises :class:`~tracekit.errors.SessionError`.
    """
    members = tar_members(archive, "the archive", _MAX_FILES)
    return {
        name: archive[start : start + size]
        for name, (start, size) in sorted(members.items())
        if _sound_name(name)
    }


class Formats:
    """The formats of a session's boots, each archive read once.

    ``read`` gives a file of the session, None where it is absent or damaged; ``state`` is another
    when a file is; ``note(where, message)`` is told of what cannot be used; ``digest`` is another
    when the bytes of a file are, so that what sessions share is unpacked once.
    """

    def __init__(
        self,
        read: Callable[[str], bytes | None],
        state: Callable[[str], object],
        note: Callable[[str, str], object] = lambda where, message: None,
        digest: Callable[[str], object] = lambda name: object(),
    ) -> None:
        self._read = read
        self._digest = digest
        self._state = state
        self._note = note
        self._lists: dict[int, tuple[object, _Listed]] = {}
        self._archives: dict[str, Files] = {}
        self._joined: dict[_Listed, Files] = {}
        self._counted: dict[int, int] = {}
        self._taken = 0

    # -- reading ------------------------------------------------------------------------------

    def listed(self, boot: int) -> _Listed:
        """A boot's list; an empty one where there is none that can be read."""
        rel = list_file(boot)
        state, known = self._state(rel), self._lists.get(boot)
        if known is None or known[0] != state:
            known = self._lists[boot] = state, self._read_list(rel)
        return known[1]

    def _read_list(self, rel: str) -> _Listed:
        data = self._read(rel)
        if data is None:
            return _Listed()
        try:
            return _parse(data)
        except ValueError as error:
            self._note(rel, str(error))
            return _Listed()

    def archive(self, identity: str) -> Files:
        """The files in an archive; none, with a remark, where it is absent or damaged."""
        if identity not in self._archives:
            rel = archive_file(identity)
            files: Files = {}
            try:
                files = _known(Once(self._digest(rel), partial(self._bytes, rel)))
            except SessionError as error:
                self._note(rel, str(error))
            else:
                if not files:
                    self._note(rel, _NOTHING)
            self._archives[identity] = files
        return self._archives[identity]

    def _bytes(self, rel: str) -> bytes:
        data = self._read(rel)
        if data is None:  # another session may be able to read the same bytes: nothing is kept
            raise SessionError(_NOTHING)
        return data

    def of(self, boot: int) -> Files:
        """Name below ``tracefs/events`` -> bytes, of every format of a boot.

        Raises :class:`~tracekit.errors.SessionError` where a session has more than any has.
        """
        files = self._join(self.listed(boot))
        self._counted[boot] = len(files)
        self._count(0)
        return files

    def _join(self, listed: _Listed) -> Files:
        if listed not in self._joined:
            every = [self.archive(identity) for identity in listed.archives]
            self._count(sum(map(len, every)))
            if len(every) == 1 and not listed.without:  # as they are: other sessions have them too
                self._joined[listed] = every[0]
            else:
                files = {name: more[name] for more in every for name in more}
                wanted = sorted(files.keys() - listed.without)
                self._joined[listed] = {name: files[name] for name in wanted}
        return self._joined[listed]

    def _count(self, more: int) -> None:
        self._taken += more
        if self._taken + sum(self._counted.values()) > _MAX_FILES:
            raise SessionError(f"more than {_MAX_FILES} formats of events: not a session")

    def file(self, rel: str) -> bytes | None:
        """The file of that name in the session, None where it is no format that there is."""
        m = _PATH.fullmatch(rel)
        return self.of(int(m[1])).get(m[2]) if m else None

    def names(self, prefix: str, boots: Iterable[int]) -> Iterator[str]:
        """The names in the session of the boots' formats that begin with ``prefix``."""
        of_one = _BOOT.match(prefix)
        for boot in (b for b in boots if of_one is None or b == int(of_one[1])):
            base = events_of(boot)
            if base.startswith(prefix):
                yield from (base + name for name in self.of(boot))
            elif prefix.startswith(base):
                rest = prefix.removeprefix(base)
                yield from (base + name for name in self.of(boot) if name.startswith(rest))

    # -- writing ------------------------------------------------------------------------------

    def unused(self, files: Collection[str]) -> list[str]:
        """The names of the archives that no boot lists; none where a list cannot be read."""
        listed = [self.listed(boot).archives for boot in listed_boots(files)]
        used = {archive_file(identity) for archives in listed for identity in archives}
        names = (archive_file(identity) for identity in _archives(files))
        return [name for name in names if name not in used] if all(listed) else []

    def plan(self, boot: int, wanted: Files, files: Collection[str]) -> Plan:
        """What to write so that ``wanted`` are a boot's formats; ``files`` has the session."""
        listed = self.listed(boot)
        if listed.archives and self._join(listed) == wanted:
            return Plan(None, None)
        bases = listed.archives
        if len(bases) >= _MAX_ARCHIVES or len(self._lacking(bases, wanted)) * 2 > len(wanted):
            bases = self._bases(wanted, _archives(files))
        lacking, archives, archive = self._lacking(bases, wanted), list(bases), None
        if lacking:
            data = tar_archive(lacking)
            identity = hashlib.sha256(data).hexdigest()[:32]
            archive = archive_file(identity), data
            archives = [*(each for each in bases if each != identity), identity]
            self._archives[identity] = dict(lacking)
        every = self._join(_Listed(tuple(archives)))
        document = {"archives": archives, "without": sorted(every.keys() - wanted.keys())}
        self._joined.clear()  # a recorder may save for months
        self._taken = 0
        return Plan(archive, json.dumps(document, indent=1).encode() + b"\n")

    def _lacking(self, bases: Iterable[str], wanted: Files) -> dict[str, bytes]:
        there = self._join(_Listed(tuple(bases)))
        return {name: data for name, data in wanted.items() if there.get(name) != data}

    def _bases(self, wanted: Files, stored: Iterable[str]) -> tuple[str, ...]:
        """The archive that most of ``wanted`` are in, if these are most of what it has."""
        best, most = tuple[str, ...](), _FEWEST
        for identity in sorted(stored):
            files = self.archive(identity)
            same = sum(wanted.get(name) == data for name, data in files.items())
            if same >= most and same * 2 > len(files):
                best, most = (identity,), same + 1
        return best
