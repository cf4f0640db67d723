"""Writes a session so that a kill at any moment loses nothing that was already saved.

A file is written to a temporary name, synced and renamed; directories of many small files are
written to a temporary directory, synced with one ``syncfs`` and renamed whole; the manifest comes
last. One writer at a time: the session directory is locked with ``flock``.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, cast

from tracekit.errors import Diagnostic, SessionError
from tracekit.session.files import Directory, HashedFile
from tracekit.session.formats import ARCHIVES, Formats, events_of, list_file, listed_boots
from tracekit.session.limits import MAX_REGION, file_limit
from tracekit.session.manifest import MANIFEST, BootDiagnostic, Manifest, State, load_manifest
from tracekit.session.names import LEFTOVER, PART, SUFFIXES, check_name, strip_suffix
from tracekit.session.packing.compression import (
    Sink,
    compress,
    compressor,
    decompress,
    decompress_chunks,
    preferred_suffix,
)
from tracekit.session.packing.sparse import SPARSE
from tracekit.session.packing.symbols import SHARED, own_of, parted
from tracekit.session.staged import StagedTree, sibling

__all__ = ["SessionWriter"]

#: What the rest of a session can be rebuilt from.
_RECORDED = ("boots/", "incoming/", "symbols/", ARCHIVES)
_LARGE = 16 << 20  # bytes of which unpacking what was never used takes time
_OLD = LEFTOVER + "old-"  # a directory that was about to be replaced


class SessionWriter:
    """The only writer of one session directory; use it as a context manager.

    Opening creates the directory (0700; files are 0600), or tidies up after a run that was
    killed. Nothing counts as finished before :meth:`finish`.
    """

    def __init__(self, directory: Directory, manifest: Manifest) -> None:
        self._directory = directory
        self.manifest = manifest
        self._suffix = preferred_suffix()
        self._formats = Formats(self._read, self.state)
        self.earlier_state = manifest.state

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> SessionWriter:
        """Open or create the session at ``path`` for writing.

        Raises :class:`~tracekit.errors.SessionError` when another tracekit is writing to it, when
        the directory holds something else, or when it cannot be written to.
        """
        where = Path(path)
        try:
            where.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                where.mkdir(mode=0o700)
            directory = Directory(where)
        except OSError as error:
            raise SessionError(
                f"{where}: cannot be made a session directory: {error.strerror}"
            ) from error
        try:
            directory.lock()
            writer = cls(directory, load_manifest(directory))
            with directory.guard(""):
                writer._tidy()
            writer._save()
            for unused in writer._formats.unused(writer.manifest.files):
                writer.remove(unused)
        except BaseException:
            directory.close()
            raise
        return writer

    def __enter__(self) -> SessionWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._directory.close()

    @property
    def path(self) -> Path:
        """The session directory."""
        return self._directory.path

    def _tidy(self) -> None:
        """Remove what a killed run left; after one, list anew the files that are really there."""
        for rel, _ in list(self._directory.walk()):
            above, slash, name = rel.rpartition("/")
            if not name.startswith(LEFTOVER):
                continue
            original = f"{above}{slash}{name.removeprefix(_OLD)}"
            if name.startswith(_OLD) and not self._directory.exists(original):
                self._directory.replace(rel, original)
            else:
                self._directory.remove(rel)
        if self.manifest.state == "writing":
            self.manifest.files = {
                rel: self._directory.digest(rel)
                for rel, is_directory in self._directory.walk()
                if not is_directory
                and rel.startswith(_RECORDED)
                and not rel.endswith(PART)
                and not self._directory.hollow(rel)
            }
            self.manifest.boots = self._boots_on_disk()
        self.manifest.state = "writing"

    def _boots_on_disk(self) -> list[int]:
        names = (rel.split("/") for rel in self.manifest.files if rel.endswith("/kernel.json"))
        indices = {parts[1] for parts in names if len(parts) == 3 and parts[0] == "boots"}
        return sorted(int(name) for name in indices if name.isdecimal() and len(name) < 4)

    def _save(self) -> None:
        self.write(MANIFEST, self.manifest.encode())

    def _record(self, stored: str, sha256: str) -> None:
        """Note a file that is in place, and remove what it replaces under another suffix."""
        name = strip_suffix(stored)
        for twin in (name, *(name + suffix for suffix in SUFFIXES)):
            if twin != stored and self.manifest.files.pop(twin, None) is not None:
                self._directory.remove(twin)
        if stored != MANIFEST:
            self.manifest.files[stored] = sha256

    def write(self, rel: str, data: bytes, *, compressed: bool = False) -> None:
        """Write one file, whole and durably, unless the session has just that.

        ``compressed`` appends the suffix. Boots of one kernel share its symbols.
        """
        stored = check_name(rel)
        if compressed and (shared := parted(rel, data)):
            self.write(shared.name, shared.kernel, compressed=True)
            stored, data = rel + SHARED, shared.own
        stored += self._suffix if compressed else ""
        content = compress(data, self._suffix) if compressed else data
        known = self.manifest.files.get(stored) == hashlib.sha256(content).hexdigest()
        if known and self._directory.holds(stored, content):
            return
        with self._placed(stored) as file:
            file.write(content)

    @contextlib.contextmanager
    def stream(self, rel: str, size: int) -> Iterator[Sink]:
        """A sink that compresses into one file, which appears when the block ends without an error.

        ``size`` is the number of bytes to come. Of many, empty pages are left out.
        """
        suffix = self._suffix if size < _LARGE else SPARSE + self._suffix
        with self._placed(check_name(rel) + suffix) as file:
            sink = compressor(cast(BinaryIO, file), suffix, size)
            yield sink
            sink.close()

    @contextlib.contextmanager
    def _placed(self, stored: str) -> Iterator[HashedFile]:
        """A file that appears under its stored name when the block ends without an error."""
        temporary = sibling(stored, LEFTOVER)
        with self._directory.guard(stored):
            fd = self._directory.create(temporary)
            try:
                file = HashedFile(fd)
                yield file
                os.fsync(fd)
            except BaseException:
                self._directory.remove(temporary)
                raise
            finally:
                os.close(fd)
            self._directory.replace(temporary, stored)
            self._record(stored, file.sha256)

    @contextlib.contextmanager
    def tree(self, rel: str, keep: Callable[[str], bool] | None = None) -> Iterator[StagedTree]:
        """A directory whose files appear together when the block ends without an error.

        It replaces the one of that name; of that one's files those are carried over whose name
        below ``rel`` meets ``keep``. Without any file nothing happens.
        """
        staging, old = sibling(rel, LEFTOVER), sibling(rel, _OLD)
        with self._directory.guard(rel):
            self._directory.remove(staging)
        prefix, files = f"{rel}/", self.manifest.files.items()
        before = {n.removeprefix(prefix): digest for n, digest in files if n.startswith(prefix)}
        staged = StagedTree(self._directory, rel, self._suffix, before)
        yield staged
        if keep is not None:
            staged.carry_over(keep)
        if not staged.files or not staged.changed:
            return
        with self._directory.guard(rel):
            staged.complete()
            self._directory.sync_tree(staging)
            if self._directory.exists(rel):
                self._directory.replace(rel, old)
            self._directory.replace(staging, rel)
            self._directory.remove(old)
        self._forget(rel)
        self.manifest.files |= {f"{rel}/{name}": digest for name, digest in staged.files.items()}

    def _forget(self, rel: str) -> None:
        files = self.manifest.files
        self.manifest.files = {n: d for n, d in files.items() if not f"{n}/".startswith(f"{rel}/")}

    # -- formats of events ----------------------------------------------------------------------

    def state(self, rel: str) -> str | None:
        """The digest of a file as it is stored, in hex; None when it is absent."""
        return self.manifest.files.get(self._stored(rel) or "")

    def formats(self, boot: int) -> dict[str, bytes]:
        """Name below ``tracefs/events`` -> bytes, of every format of a boot."""
        base, files = events_of(boot), dict(self._formats.of(boot))
        for name in self.manifest.files:
            if name.startswith(base) and (data := self._read(strip_suffix(name))) is not None:
                files[strip_suffix(name).removeprefix(base)] = data
        return files

    def write_formats(self, boot: int, wanted: Mapping[str, bytes]) -> None:
        """Make ``wanted`` the formats of a boot; only what the session has not yet is written."""
        for name in wanted:
            check_name(events_of(boot) + name)
        plan = self._formats.plan(boot, wanted, self.manifest.files)
        if plan.archive is not None:
            self.write(*plan.archive, compressed=True)
        if plan.listed is not None:
            self.write(list_file(boot), plan.listed)
        if any(name.startswith(events_of(boot)) for name in self.manifest.files):
            self.remove(events_of(boot).rstrip("/"))  # as format 1 has them

    # -- reading ----------------------------------------------------------------------------------

    def _stored(self, rel: str) -> str | None:
        """The stored name of a file of the session, or None."""
        twins = (rel, *(rel + suffix for suffix in SUFFIXES))
        return next((name for name in twins if name in self.manifest.files), None)

    def has(self, rel: str) -> bool:
        """True when the file is there, compressed or not."""
        return self._stored(rel) is not None or self._formats.file(rel) is not None

    def read(self, rel: str) -> bytes | None:
        """A file's content, decompressed; None when it is absent or damaged."""
        return self._read(rel) if self._stored(rel) else self._formats.file(rel)

    def _read(self, rel: str) -> bytes | None:
        stored = self._stored(rel)
        if stored is None:
            return None
        limit = file_limit(rel)
        try:
            data = self._directory.read(stored, limit)
            data = decompress(data, stored[len(rel) :].removeprefix(SHARED), stored, limit)
            if not (own := own_of(rel, stored, data)):
                return data
            kernel = self._read(own.name)
            return None if kernel is None else own.whole(kernel)
        except (OSError, SessionError):
            return None

    def content_sha256(self, rel: str) -> str | None:
        """The digest of a file's decompressed content, in hex; None when absent or damaged."""
        stored = self._stored(rel)
        if stored is None:
            return None
        digest, size = hashlib.sha256(), 0
        try:
            with os.fdopen(self._directory.open(stored), "rb") as file:
                for chunk in decompress_chunks(file, stored[len(rel) :], stored):
                    digest.update(chunk)
                    if (size := size + len(chunk)) > MAX_REGION:
                        return None
        except (OSError, SessionError):
            return None
        return digest.hexdigest()

    def head(self, rel: str) -> bytes:
        """The first bytes of a file's content, at most a MiB; b'' when absent or damaged."""
        stored = self._stored(rel)
        if stored is None:
            return b""
        try:
            with os.fdopen(self._directory.open(stored), "rb") as file:
                return next(decompress_chunks(file, stored[len(rel) :], stored), b"")
        except (OSError, SessionError):
            return b""

    def names(self, prefix: str) -> tuple[str, ...]:
        """The names that begin with ``prefix``, sorted, without compression suffixes."""
        plain = (strip_suffix(name) for name in self.manifest.files)
        names = {name for name in plain if name.startswith(prefix)}
        boots = listed_boots(self.manifest.files)
        return tuple(sorted(names.union(self._formats.names(prefix, boots))))

    def move(self, source: str, target: str) -> None:
        """Rename a file of the session; both are names without a compression suffix."""
        stored = self._stored(source)
        if stored is None:
            raise SessionError(f"{self.path}: {source} is missing from the session")
        renamed = target + stored[len(source) :]
        with self._directory.guard(target):
            self._directory.replace(stored, renamed)
        self._record(renamed, self.manifest.files.pop(stored))

    def remove(self, rel: str) -> None:
        """Remove a file or a directory with all that is in it, if it is there."""
        with self._directory.guard(rel):
            self._directory.remove(self._stored(rel) or rel)
        self._forget(self._stored(rel) or rel)

    def open_part(self, rel: str) -> int:
        """A descriptor of ``REL.part``, a file that outlives a kill and is not in the manifest."""
        with self._directory.guard(rel):
            return self._directory.resume(rel + PART)

    def has_part(self, rel: str) -> bool:
        """True when there is a ``REL.part``."""
        return self._directory.exists(rel + PART)

    def read_part(self, rel: str) -> bytes:
        """The content of ``REL.part``."""
        with self._directory.guard(rel):
            return self._directory.read(rel + PART, MAX_REGION)

    def remove_part(self, rel: str) -> None:
        """Remove ``REL.part``, if it is there."""
        with self._directory.guard(rel):
            self._directory.remove(rel + PART)

    def shift_boots(self, first: int) -> None:
        """Make room for a boot at index ``first``: those from there on move up by one."""
        for index in reversed([boot for boot in self.manifest.boots if boot >= first]):
            with self._directory.guard(f"boots/{index}"):
                self._directory.replace(f"boots/{index}", f"boots/{index + 1}")
            old, new = f"boots/{index}/", f"boots/{index + 1}/"
            self.manifest.files = {
                new + name.removeprefix(old) if name.startswith(old) else name: digest
                for name, digest in self.manifest.files.items()
            }
        self.manifest.diagnostics = [
            BootDiagnostic(e.boot if e.boot is None else e.boot + (e.boot >= first), e.diagnostic)
            for e in self.manifest.diagnostics
        ]
        self.manifest.boots = [boot + (boot >= first) for boot in self.manifest.boots]
        self._save()

    def set_diagnostics(self, boot: int | None, diagnostics: list[Diagnostic]) -> None:
        """Replace the remarks about one boot (None: about the session)."""
        kept = [entry for entry in self.manifest.diagnostics if entry.boot != boot]
        self.manifest.diagnostics = kept + [BootDiagnostic(boot, d) for d in diagnostics]

    def add_boot(self, boot: int) -> None:
        """List a boot, once its ``kernel.json`` is in place."""
        self.manifest.boots = sorted({*self.manifest.boots, boot})

    def abandon(self) -> None:
        """Leave the session as it was found, for a run that had nothing to save."""
        if self.manifest.files:
            self.finish(self.earlier_state)
            return
        with self._directory.guard(""), contextlib.suppress(OSError):
            self._directory.remove(MANIFEST)
            self.path.rmdir()  # if nothing else is in it

    def finish(self, state: State) -> None:
        """Save the manifest in its final state."""
        self.manifest.state = state
        self._save()
