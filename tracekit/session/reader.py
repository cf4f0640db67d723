"""Reads a session: names without compression suffixes, checksums, size limits."""

from __future__ import annotations

import hashlib
import json
import os
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from tracekit.errors import Diagnostic, SessionError
from tracekit.session.ahead import Ahead, read_ahead
from tracekit.session.formats import Formats, events_of, listed_boots
from tracekit.session.limits import MAX_JSON, RECORDED, Budget, Oversized, file_limit
from tracekit.session.manifest import MANIFEST, Manifest, parse_manifest
from tracekit.session.names import LEFTOVER, PART, strip_suffix
from tracekit.session.packing.compression import decompress, decompressed, sha256_of, stated_sizes
from tracekit.session.packing.symbols import SHARED, BootSymbols, own_of, split_of
from tracekit.session.store import Store, open_store
from tracekit.spill import Spill

__all__ = ["Session"]

_Names = list[str]  # inside the class, `list` is a method
_SMALL = 1 << 16  # bytes of a document that is kept
_NAMED = 20  # files of one kind that get a remark each; the rest are counted


class Session:
    """A recording: a session directory, or a ``.tar.zst`` archive of one held in memory.

    Names are relative paths (``boots/0/kernel.json``) without the suffix of the
    compression: ``boots/0/kallsyms`` finds ``boots/0/kallsyms.zst``. Symlinks are not followed.
    """

    def __init__(self, path: Path, store: Store, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self.budget = Budget(str(path), store.on_disk)
        #: Where what was recorded is kept, and what is made of it.
        self.spill = Spill()
        self._store = store
        self._stored = self._index(store)
        self._sorted = sorted(self._stored)
        self._remarks: dict[tuple[str, str], Diagnostic] = {}
        self._formats = Formats(
            self._read_or_none,
            lambda name: None,
            lambda name, why: self._remark("format-unreadable", name, why),
            self._digest_or_another,
        )
        self._with_formats = listed_boots(self._stored)
        self._ahead: dict[str, Ahead] = {}
        self._documents: dict[str, dict[str, Any]] = {}
        self._kernel_symbols = ("", b"")  # the name of the file, what is in it
        self._check()

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Session:
        """Open the session at ``path``.

        Raises :class:`~tracekit.errors.VersionError` when a newer tracekit wrote it and
        :class:`~tracekit.errors.SessionError` when it is not a session.
        """
        where = Path(path)
        store = open_store(where)
        if MANIFEST not in store.names:
            empty = not any(name for name in store.names if not name.startswith("."))
            raise SessionError(
                f"{where}: {'empty' if empty else 'not a session'}: no {MANIFEST}: "
                "start one with 'tracekit snapshot -o DIR' under the old kernel, "
                "or with 'tracekit recover DIR' under the new one"
            )
        return cls(where, store, parse_manifest(store.load(MANIFEST, MAX_JSON), str(where)))

    @staticmethod
    def _index(store: Store) -> dict[str, str]:
        """Logical name -> stored name; an uncompressed file wins over a compressed twin."""
        index: dict[str, str] = {}
        for name in sorted(store.names):
            parts = name.split("/")
            if any(p.startswith(".") or p.endswith(PART) for p in parts) or name == MANIFEST:
                continue
            index.setdefault(strip_suffix(name), name)
        return index

    def _remark(self, code: str, name: str, message: str) -> None:
        self._remarks[code, name] = Diagnostic(code, "warning", name, message)

    def _check(self) -> None:
        """Compare the names with the manifest; contents are compared when they are read."""
        missing = sorted(self.manifest.files.keys() - self._store.names.keys())
        for name in missing[:_NAMED]:
            self._remark("session-file-missing", name, "listed in the manifest, but not there")
        if len(missing) > _NAMED:
            more = f"{len(missing) - _NAMED} more files of the manifest are not there"
            self._remark("session-file-missing", "and more", more)
        leftovers = [n for n in self._store.names if LEFTOVER in n or n.endswith(PART)]
        if self.manifest.state == "writing" or leftovers:
            clause = f"; left behind: {', '.join(sorted(leftovers)[:3])}" if leftovers else ""
            self._remark(
                "session-incomplete",
                str(self.path),
                f"the last command on this session did not finish{clause}. "
                "Run it again: it goes on where it was",
            )

    @property
    def boots(self) -> list[int]:
        """The boots' indices, oldest first."""
        return list(self.manifest.boots)

    @property
    def diagnostics(self) -> list[Diagnostic]:
        """The remarks made while the session was saved, then those made by reading it."""
        saved = [entry.diagnostic for entry in self.manifest.diagnostics]
        return saved + list(self._remarks.values())

    @property
    def intact(self) -> bool:
        """Whether nothing was remarked on since it was opened."""
        return not self._remarks

    @property
    def fingerprint(self) -> str:
        """sha256 over the names and checksums of its files: which recording this is."""
        digest = hashlib.sha256()
        for name, checksum in sorted(self.manifest.files.items()):
            digest.update(f"{name}\0{checksum}\n".encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def digest(self, rel: str) -> str:
        """sha256 of a file as it is stored, '' where it is not there.

        As :meth:`read`, but nothing is decompressed.
        """
        name = strip_suffix(rel)
        stored = self._stored.get(name)
        return "" if stored is None else self._checked(stored, file_limit(name))[1]

    def has(self, rel: str) -> bool:
        """True when the file is there, compressed or not."""
        name = strip_suffix(rel)
        return name in self._stored or self._formats.file(name) is not None

    def list(self, prefix: str = "") -> _Names:
        """Every name that begins with ``prefix``, sorted, without compression suffixes."""
        plain = self.files(prefix)
        packed = [*self._formats.names(prefix, self._with_formats)]
        return sorted({*plain, *packed}) if packed else plain

    def files(self, prefix: str) -> _Names:
        """Those of :meth:`list` that are files of their own: all but formats in archives."""
        start = bisect_left(self._sorted, prefix)
        end = start
        while end < len(self._sorted) and self._sorted[end].startswith(prefix):
            end += 1
        return self._sorted[start:end]

    def formats(self, boot: int) -> Mapping[str, bytes | None]:
        """Name below ``tracefs/events`` -> bytes of every format; None: a file, to be read."""
        base = events_of(boot)
        alone = {name.removeprefix(base): None for name in self.files(base)}
        packed = self._formats.of(boot)
        return dict(sorted({**packed, **alone}.items())) if alone else packed

    @cached_property
    def recorded(self) -> tuple[str, ...]:
        """The names of all files that hold recorded events, sorted."""
        return tuple(n for n in self._sorted if n.startswith("boots/") and n.endswith(RECORDED))

    def read(self, rel: str) -> bytes:
        """The file's content, decompressed.

        A file that differs from the manifest is read all the same and becomes a diagnostic
        (``session-file-changed``). Raises :class:`~tracekit.errors.SessionError` when it is
        missing, damaged beyond decompression or larger than any such file, and
        :class:`~tracekit.errors.TooLarge` where the session's files unpack to far more than they
        take on disk.
        """
        name = strip_suffix(rel)
        ahead = self._ahead.pop(name, None)
        return ahead.result() if ahead is not None else self._read(name)

    def read_ahead(self, names: Iterable[str]) -> None:
        """Begin to read ``names`` in the background; :meth:`read` then takes them from there.

        Decompressing a region leaves the interpreter free for imports and formats.
        """
        self._ahead.update(read_ahead(self._read, names))

    def _read(self, name: str) -> bytes:
        stored = self._stored.get(name)
        if stored is None and (data := self._formats.file(name)) is not None:
            return data
        if stored is None:
            raise SessionError(f"{self.path}: {name} is missing from the session")
        data = self._unpacked(name, stored)
        own = own_of(name, stored, data)
        return own.whole(self._symbols_of_kernel(own.name)) if own else data

    def _unpacked(self, name: str, stored: str) -> bytes:
        """What a stored file unpacks to, within the budget."""
        limit, room, last = file_limit(name), 0, Oversized()
        for room in self.budget.rooms(name, limit):
            try:
                data = self._load(name, stored, room)
            except Oversized as error:
                last = error.with_traceback(None)  # which would keep all that the callers hold
            else:
                self.budget.unpacked(name, len(data))
                return data
        raise last if room == limit else self.budget.exceeded(name) from last

    def _symbols_of_kernel(self, name: str) -> bytes:
        """A file of symbols that boots share; the last one is kept where there are several."""
        known, symbols = self._kernel_symbols
        if known != name:
            symbols = self._read(name)
            if len(self.manifest.boots) > 1:
                self._kernel_symbols = name, symbols
        return symbols

    def symbols(self, boot: int) -> BootSymbols | None:
        """The symbols of a boot, in parts of which boots share one; None where it has none.

        Raises :class:`~tracekit.errors.SessionError`.
        """
        name = f"boots/{boot}/kallsyms"
        stored = self._stored.get(name)
        if stored is None:
            return None
        data = self._unpacked(name, stored)
        if own := own_of(name, stored, data):
            read = partial(self._symbols_of_kernel, own.name)
            return BootSymbols(own.name, read, own.moved, own.lines)
        split = split_of(data)
        kernel = data[:split]
        return BootSymbols(hashlib.sha256(kernel).hexdigest(), lambda: kernel, 0, data[split:])

    def _checked(self, stored: str, limit: int) -> tuple[bytes, str]:
        """(the bytes of a stored file, their sha256); a remark if the manifest has another."""
        data = self._store.load(stored, limit)
        digest = hashlib.sha256(data).hexdigest()
        self._compare(stored, digest)
        return data, digest

    def _compare(self, stored: str, digest: str) -> None:
        expected = self.manifest.files.get(stored)
        if expected is not None and digest != expected:
            self._remark(
                "session-file-changed", stored, "its bytes are not those the manifest recorded"
            )

    def _load(self, name: str, stored: str, limit: int) -> bytes:
        suffix, what = stored[len(name) :].removeprefix(SHARED), f"{self.path}/{stored}"
        if not name.endswith(RECORDED):
            data, _ = self._checked(stored, limit)
            return decompress(data, suffix, what, limit)
        with self._store.opened(stored, limit) as file:
            stated, size = stated_sizes(file, suffix)
            if stated and self.spill.fits(size):  # made in place: that is faster
                data = file.read()
                self._compare(stored, hashlib.sha256(data).hexdigest())
                return self.spill.kept(decompress(data, suffix, what, limit))
            self._compare(stored, sha256_of(file))
            return self.spill.collected(decompressed(file, suffix, what, limit), size)

    def _digest_or_another(self, name: str) -> object:
        """As :meth:`digest`; what equals nothing where the file cannot be read."""
        try:
            return self.digest(name)
        except SessionError:
            return object()

    def _read_or_none(self, name: str) -> bytes | None:
        if name not in self._stored:
            return None
        try:
            return self._read(name)
        except SessionError:
            return None

    def json(self, rel: str) -> dict[str, Any]:
        """The JSON object in a file; raises :class:`~tracekit.errors.SessionError`.

        Not to be changed: small ones are taken apart once.
        """
        if rel in self._documents:
            return self._documents[rel]
        data = self.read(rel)
        try:
            document = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise SessionError(f"{self.path}: {rel} is damaged: {error}") from error
        if not isinstance(document, dict):
            raise SessionError(f"{self.path}: {rel} is damaged: no JSON object")
        if len(data) <= _SMALL:
            self._documents[rel] = document
        return document

    def kernel(self, boot: int) -> Mapping[str, Any]:
        """``kernel.json`` of a boot; raises :class:`~tracekit.errors.SessionError`."""
        return self.json(f"boots/{boot}/kernel.json")
