"""The Live Update Orchestrator's entry in what KHO hands over: its header, sessions and files.

``include/linux/kho/abi/luo.h``. The header is a device tree up to 7.1 (``luo-v1``), then a packed
structure that begins with its version (``luo-v3`` to ``luo-v5``; 7.2 and 7.3 have the last), and in
later trees one that begins with a header of feature bits and has no version. Sessions and files
are lists at physical addresses: one array each, or (sessions from ``luo-v4`` on, files from
``luo-v5`` on) blocks that are chained (``struct kho_block_header_ser``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from tracekit.binary import Cursor
from tracekit.errors import Diagnostic, ParseError, SourceError
from tracekit.frozen import dataclass
from tracekit.kho.fdt import Node, parse_fdt
from tracekit.kho.memory import PAGE, Reader

__all__ = ["LUO", "Flb", "LuoFile", "LuoHeader", "LuoLists", "LuoSession", "parse_luo", "read_luo"]

LUO = "LUO"  # LUO_KHO_ENTRY_NAME
FEATURE_HEADER = 128  # bytes: u64 supported, required, active, reserved[13]
_FDT_MAGIC = b"\xd0\x0d\xfe\xed"
_STRUCT = re.compile(rb"luo-v(\d{1,6})(?:;[ -~]*)?")
_KNOWN_STRUCT = range(3, 6)
_FEATURES = ("number", "sessions", "flbs")
_NAME = 64  # LIVEUPDATE_SESSION_NAME_LENGTH
_COMPATIBLE = 48  # LIVEUPDATE_HNDL_COMPAT_LENGTH, LIVEUPDATE_FLB_COMPAT_LENGTH
_SESSION, _SESSION_V1, _FILE, _FLB = 80, 64, 64, 64  # bytes
_MOST_SESSIONS, _MOST_FILES, _MOST_FLBS = 1 << 12, 1 << 14, 63  # files: of all sessions
_MOST_BLOCKS = 1 << 12

_Report = Callable[[Diagnostic], object]


@dataclass(frozen=True, slots=True)
class LuoHeader:
    """The header that LUO hands over.

    ``form``: ``fdt``, ``struct`` or ``features``. ``compatible`` is its version, '' where it has
    none. ``updates`` counts the live updates; ``sessions`` and ``objects`` are physical addresses
    of the preserved sessions and of the objects that files share (FLBs), 0 where there are none;
    None where the header does not say. ``layout`` is the layout of the lists: 1 and 2 for a device
    tree's session-v1 and v2, 3 to 5 as in ``luo-vN``. ``features``: the bits that are set in
    supported, required and active.
    """

    compatible: str
    updates: int | None
    sessions: int | None
    objects: int | None
    form: str = "struct"
    layout: int = 5
    features: tuple[int, int, int] = (0, 0, 0)

    @property
    def feature_names(self) -> str:
        """The active features in words."""
        active = self.features[2] or self.features[0]
        names = [name for bit, name in enumerate(_FEATURES) if active >> bit & 1]
        unknown = active >> len(_FEATURES) << len(_FEATURES)
        return ", ".join(names + ([f"unknown {unknown:#x}"] if unknown else [])) or "none"


@dataclass(frozen=True, slots=True)
class LuoFile:
    """A preserved file: its handler, the handler's data (an address, mostly), the user's token."""

    compatible: str
    data: int
    token: int


@dataclass(frozen=True, slots=True)
class LuoSession:
    """A session; ``count``: how many files it says it has, None where that is not said."""

    name: str
    count: int | None
    files: tuple[LuoFile, ...] = ()


@dataclass(frozen=True, slots=True)
class Flb:
    """An object that files share ("file-lifecycle-bound"); ``count``: how many files."""

    name: str
    data: int
    count: int


@dataclass(frozen=True, slots=True)
class LuoLists:
    """The sessions and shared objects; None where they could not be read."""

    sessions: tuple[LuoSession, ...] | None
    flbs: tuple[Flb, ...] | None


def _number(node: Node, name: str) -> int | None:
    value = node.properties.get(name, b"")
    return int.from_bytes(value, "little") if len(value) == 8 else None


def _from_tree(data: bytes, source: str, report: _Report) -> LuoHeader:
    root = parse_fdt(data, source)
    compatible = ";".join(root.strings("compatible"))
    if compatible != "luo-v1":
        _unknown_version(report, source, compatible, "luo-v1 is known of device trees")
    nodes = {node.name: node for node in root.children}
    session, flb = nodes.get("luo-session"), nodes.get("luo-flb")
    kind = ";".join(session.strings("compatible")) if session else ""
    if session and kind not in ("luo-session-v1", "luo-session-v2"):
        _unknown_version(report, source, kind, "luo-session-v1 and -v2 are known")
    return LuoHeader(
        compatible,
        _number(root, "liveupdate-number"),
        _number(session, "luo-session-header") if session else 0,
        _number(flb, "luo-flb-header") if flb else 0,
        "fdt",
        1 if kind == "luo-session-v1" else 2,
    )


def _unknown_version(report: _Report, source: str, found: str, known: str) -> None:
    message = f"compatible is {found!r:.80}; {known}. It is read as if it were the nearest of them"
    report(Diagnostic("luo-version-unknown", "warning", source, message))


def _with_features(data: bytes, source: str, report: _Report) -> LuoHeader | None:
    """The form with feature bits; None where it is not that."""
    if len(data) < FEATURE_HEADER + 24:
        return None
    words = Cursor(data, source).array("Q", 19, "the feature header and what follows")
    supported, required, active = words[:3]
    plausible = supported and supported < 1 << 32 and not any(words[3:16])
    if not plausible or (required | active) & ~supported:
        return None
    if unknown := (required | active) & ~0b111:
        message = f"features {unknown:#x} are not known: what they add is not shown"
        report(Diagnostic("luo-features-unknown", "warning", source, message))
    updates, sessions, objects = words[16:19]
    features = (supported, required, active)
    return LuoHeader("", updates, sessions, objects, "features", 5, features)


def parse_luo(data: bytes, source: str = LUO, report: _Report = lambda _: None) -> LuoHeader:
    """Read the blob.

    A version that is not known is reported and read as the nearest one. Raises
    :class:`~tracekit.errors.ParseError` for what is none of the forms.
    """
    if data.startswith(_FDT_MAGIC):
        return _from_tree(data, source, report)
    match = _STRUCT.match(data)
    if match is not None:
        layout = int(match[1])
        if layout not in _KNOWN_STRUCT:
            known = f"luo-v{_KNOWN_STRUCT[0]} to luo-v{_KNOWN_STRUCT[-1]} are known"
            _unknown_version(report, source, match[0].decode(), known)
        cursor = Cursor(data, source, (match.end() // 8 + 1) * 8)  # LUO_ABI_COMPAT_LEN
        return LuoHeader(
            match[0].decode(),
            cursor.u64("the number of live updates"),
            cursor.u64("the address of the sessions"),
            cursor.u64("the address of the shared objects"),
            layout=min(max(layout, _KNOWN_STRUCT[0]), _KNOWN_STRUCT[-1]),
        )
    header = _with_features(data, source, report)
    if header is None:
        raise ParseError(
            f"{source}: begins with {data[:16].hex(' ')}: no version of LUO that is known. Kernels "
            "of 7.2 and 7.3 free the page early, so that it may hold something else by now"
        )
    return header


class _Lists:
    """Reads lists at physical addresses; what is wrong is reported, and the rest is read."""

    def __init__(self, read: Reader, source: str, report: _Report) -> None:
        self._read, self._source, self._report = read, source, report
        self._files_left = _MOST_FILES

    def remark(self, code: str, where: str, message: str) -> None:
        self._report(Diagnostic(code, "warning", f"{self._source} {where}", message))

    def array(self, address: int, count: int, size: int, where: str) -> Iterator[Cursor]:
        """Entries one after the other."""
        for number in range(count):
            try:
                data = self._read(address + number * size, size)
            except SourceError as error:
                self.remark("luo-unread", where, str(error))
                return
            yield Cursor(data, f"{self._source} {where} {number}")

    def blocks(self, address: int, size: int, most: int, where: str) -> Iterator[Cursor]:
        """Entries in blocks of a page: ``u64 next, count``."""
        seen: set[int] = set()
        left = most
        while address and left > 0:
            if address in seen or len(seen) >= _MOST_BLOCKS:
                self.remark("luo-list-damaged", where, f"the block at {address:#x} comes twice")
                return
            seen.add(address)
            try:
                head = Cursor(self._read(address, 16), f"{self._source} {where}")
            except SourceError as error:
                self.remark("luo-unread", where, str(error))
                return
            following, count = head.u64("the next block"), head.u64("the count")
            if count > (PAGE * 16 - 16) // size or address % 8:
                message = f"the block at {address:#x} says it has {count} entries"
                self.remark("luo-list-damaged", where, message)
                return
            yield from self.array(address + 16, min(count, left), size, where)
            left -= count
            address = following

    def counted(self, address: int, size: int, most: int, where: str) -> Iterator[Cursor]:
        """An array behind its ``u64 count``."""
        try:
            count = Cursor(self._read(address, 8), f"{self._source} {where}").u64("the count")
        except SourceError as error:
            self.remark("luo-unread", where, str(error))
            return
        if count > most:
            self.remark("luo-list-damaged", where, f"says it has {count} entries")
            return
        yield from self.array(address + 8, count, size, where)

    def sessions(self, header: LuoHeader) -> Iterator[LuoSession]:
        address = header.sessions or 0
        if header.layout == 1:
            for entry in self.counted(address, _SESSION_V1, _MOST_SESSIONS, "sessions"):
                yield LuoSession(entry.cstr(_NAME, "a name"), None)
            return
        if header.layout >= 4:
            entries = self.blocks(address, _SESSION, _MOST_SESSIONS, "sessions")
        else:
            entries = self.counted(address, _SESSION, _MOST_SESSIONS, "sessions")
        for entry in entries:
            name = entry.cstr(_NAME, "a name")
            files, count = entry.u64("the files"), entry.u64("their count")
            yield LuoSession(name, count, tuple(self.files(header, name, files, count)))

    def files(self, header: LuoHeader, name: str, address: int, count: int) -> Iterator[LuoFile]:
        where = f"session {name!r:.66}"
        if count > self._files_left:
            self.remark("luo-list-damaged", where, f"says it has {count} files: too many")
            count = 0
        self._files_left -= count
        if not address or not count:
            return
        if header.layout >= 5:
            entries = self.blocks(address, _FILE, count, where)
        else:
            entries = self.array(address, count, _FILE, where)
        for entry in entries:
            compatible = entry.cstr(_COMPATIBLE, "a handler")
            yield LuoFile(compatible, entry.u64("its data"), entry.u64("a token"))

    def flbs(self, header: LuoHeader) -> Iterator[Flb]:
        where, address = "shared objects", header.objects or 0
        try:
            head = Cursor(self._read(address, 16), f"{self._source} {where}")
        except SourceError as error:
            self.remark("luo-unread", where, str(error))
            return
        head.u64("the number of pages")
        count = head.u64("the count")
        if count > _MOST_FLBS:
            self.remark("luo-list-damaged", where, f"says it has {count} entries")
            return
        for entry in self.array(address + 16, count, _FLB, where):
            name = entry.cstr(_COMPATIBLE, "a name")
            yield Flb(name, entry.u64("its data"), entry.u64("its count"))


def read_luo(
    header: LuoHeader, read: Reader, source: str = LUO, report: _Report = lambda _: None
) -> LuoLists:
    """The sessions and shared objects that the header points to; nothing is raised.

    ``read`` reads physical memory.
    """
    unread = list[Diagnostic]()

    def note(diagnostic: Diagnostic) -> None:
        unread.append(diagnostic)
        report(diagnostic)

    lists = _Lists(read, source, note)

    def known(address: int | None, found: Callable[[LuoHeader], Iterator[object]]) -> object:
        if not address:
            return None if address is None else ()
        before = len(unread)
        entries = tuple(found(header))
        return entries if entries or len(unread) == before else None

    sessions = known(header.sessions, lists.sessions)
    return LuoLists(sessions, known(header.objects, lists.flbs))  # type: ignore[arg-type]
