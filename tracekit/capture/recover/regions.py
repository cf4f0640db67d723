"""Copies preserved regions into the session, raw and before anything parses them."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from itertools import count
from pathlib import Path

from tracekit.capture.recover.discover import GIVEN
from tracekit.capture.save.boots import Owner
from tracekit.carriers.carrier import Found, Source
from tracekit.carriers.files import FILE
from tracekit.carriers.memory import Unread
from tracekit.carriers.ring_header import HEADER
from tracekit.errors import NothingToRecover, SessionError, SourceError
from tracekit.frozen import dataclass
from tracekit.parameters import RegionSpec
from tracekit.remarks import Progress, Remarks
from tracekit.session import MAX_REGION, Session, SessionWriter, safe_name
from tracekit.session.files import dump_json
from tracekit.session.names import INCOMING
from tracekit.session.packing.compression import Sink
from tracekit.session.regions import listed_writers, unread_spans
from tracekit.spans import Span

__all__ = [
    "UNREADABLE",
    "Fetching",
    "SavedRegion",
    "assign",
    "drop_doubles",
    "keep_unfinished",
    "leftovers",
    "recovered_in",
    "set_aside",
]

UNREADABLE = "region-unreadable"  #: the code of the remark on a region that could not be read
MAX_REGIONS = 16 << 30  # bytes of all regions that one run copies
_LISTED = 8  # spans that a remark names
_JSON = re.compile(r"/(?:regions|other-copies)/.*\.json$")


@dataclass(frozen=True, slots=True)
class SavedRegion:
    """A region in the session; ``regions/NAME.json`` has all fields but the last two.

    ``unread`` are the (offset, size) of the bytes that could not be read: a filler stands there.
    ``writers`` identify the boots that recorded into it, oldest first; none where it was one.

    ``read_in`` identifies the boot that read it: the same region read in the same boot is never
    copied again. Sizes and addresses are in bytes; ``sha256`` is that of the raw bytes; ``header``
    is their first 64, in hex. ``directory`` is where its files are, ``kept`` whether an earlier
    run put them there.

    ``origin`` is the file that it was read from, where the user named one; ``address`` None: where
    it lay in the machine's memory is not known.
    """

    name: str
    address: int | None
    size: int
    carrier: str
    found_by: str
    read_in: str
    sha256: str
    header: str
    owner_evidence: str = ""
    unread: tuple[Span, ...] = ()
    writers: tuple[str, ...] = ()
    origin: str = ""
    directory: str = ""
    kept: bool = False

    @property
    def boot(self) -> int | None:
        """The boot that wrote it; None while that is not decided."""
        parts = self.directory.split("/")
        return int(parts[1]) if parts[0] == "boots" and parts[1].isdecimal() else None

    def of_boot(self, boot: int) -> SavedRegion:
        """The same region, with ``boot`` as its boot's index."""
        below = self.directory.split("/", 2)[2]
        return replace(self, directory=f"boots/{boot}/{below}")

    @property
    def base(self) -> str:
        """The name of its files in the session, without ``.raw`` or ``.json``."""
        return f"{self.directory}{safe_name(self.name)}"

    def encode(self) -> bytes:
        """The bytes of ``NAME.json``."""
        document = asdict(self)
        del document["directory"], document["kept"]
        for name in ("unread", "writers", "origin"):
            if not document[name]:
                del document[name]
        return dump_json(document)


_FIELDS = {field.name for field in fields(SavedRegion)} - {"directory", "kept"}


class _Tap:
    """Passes bytes on to a sink, and keeps their digest and the first few."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._hash = hashlib.sha256()
        self.header = b""

    def write(self, data: bytes) -> None:
        self._sink.write(data)
        self._hash.update(data)
        if len(self.header) < HEADER:
            self.header += data[: HEADER - len(self.header)]

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()


def _decode(data: bytes | None, directory: str) -> SavedRegion | None:
    """A ``NAME.json``; None when it is absent or damaged. Unknown fields are left out."""
    try:
        document = json.loads(data or b"")
        known = {name: document[name] for name in _FIELDS & document.keys()}
        known |= {"unread": unread_spans(document), "writers": listed_writers(document)}
        region = SavedRegion(**known, directory=directory, kept=True)
        bytes.fromhex(region.header)
    except (AttributeError, ValueError, TypeError, RecursionError):
        return None
    texts = (region.name, region.read_in, region.sha256, region.owner_evidence, region.origin)
    numbers = (region.address if region.address is not None else 0, region.size)
    sound = all(isinstance(t, str) for t in texts) and all(isinstance(n, int) for n in numbers)
    return region if sound else None


@dataclass(frozen=True, slots=True)
class Fetching:
    """Copies regions from the sources into the session, with remarks and progress.

    ``read_in`` identifies the running boot, ``here`` is its index.
    """

    sources: Sequence[Source]
    writer: SessionWriter
    read_in: str
    here: int
    remarks: Remarks
    progress: Progress

    def fetch(self, found: Sequence[Found]) -> list[SavedRegion]:
        """Copy every region that is not in the session yet.

        One that cannot be read becomes a remark. Raises
        :class:`~tracekit.errors.NothingToRecover` when none could be.
        """
        saved: list[SavedRegion] = []
        failures: list[str] = []
        room = MAX_REGIONS
        for each in found:
            spec = each.region
            try:
                if MAX_REGION >= spec.size > room:
                    raise SourceError(f"{spec.size} bytes: all together more than {MAX_REGIONS}")
                saved.append(self._already(each) or self._copy(each))
                room -= spec.size
            except SourceError as error:
                failures.append(f"{spec.name}: {error}")
                self.remarks.add(UNREADABLE, "error", f"region {spec.name}", str(error))
        if not saved:
            unusable = [d.message for d in self.remarks.diagnostics if d.code == "core-unusable"]
            raise NothingToRecover("no region could be read: " + "; ".join(failures + unusable))
        return saved

    def _already(self, found: Found) -> SavedRegion | None:
        """The copy of this region that this boot made before, if it is intact.

        A region that this boot itself writes is copied anew for ``--region``: it may have recorded
        since; and one in a file, which may be another one by now.
        """
        spec = found.region
        if any(source.name == FILE for source in (*self.sources, found.file) if source):
            return None
        file = f"{safe_name(spec.name)}.json"
        for rel in (*self.writer.names("boots/"), *self.writer.names(INCOMING)):
            if not rel.endswith(f"/{file}"):
                continue
            region = _decode(self.writer.read(rel), rel.removesuffix(file))
            if (
                region is not None
                and (region.name, region.address, region.size) == tuple(spec)
                and region.read_in == self.read_in
                and not (region.boot == self.here and found.how == GIVEN)
                and self.writer.content_sha256(f"{region.base}.raw") == region.sha256
            ):
                return region
        return None

    def _copy(self, found: Found) -> SavedRegion:
        """Copy one region to ``incoming/``. Raises SourceError when no source holds it."""
        spec = found.region
        if spec.size > MAX_REGION:
            raise SourceError(
                f"{spec.size} bytes: more than the {MAX_REGION} of any ring buffer; "
                "name the part to fetch with --region"
            )
        sources = [found.file] if found.file else self.sources
        held = [s.memory.held(spec.address, spec.size) for s in sources]
        source = sources[held.index(max(held))] if any(held) else None
        if source is None:
            cores = "; ".join(f"{s.memory.source} holds {s.memory.describe()}" for s in sources)
            end = spec.address + spec.size
            raise SourceError(
                f"physical range {spec.address:#x}-{end:#x} is in no core: "
                f"{cores or 'there is none'}"
            )
        directory = f"{INCOMING}{safe_name(self.read_in)}/"
        rel = f"{directory}{safe_name(spec.name)}"
        with (
            self.progress(f"copying {spec.name}", spec.size) as advance,
            self.writer.stream(f"{rel}.raw", spec.size) as sink,
        ):
            tap = _Tap(sink)
            unread = source.memory.copy_to(spec.address, spec.size, tap, advance)
        if unread.spans:
            self._remark_unread(spec, unread)
        region = SavedRegion(
            spec.name,
            None if found.file else spec.address,
            spec.size,
            carrier=source.name,
            found_by=found.how,
            read_in=self.read_in,
            sha256=tap.sha256,
            header=tap.header.hex(),
            unread=unread.spans,
            origin=_origin(found, source),
            directory=directory,
        )
        self.writer.write(f"{rel}.json", region.encode())
        return region

    def _remark_unread(self, spec: RegionSpec, unread: Unread) -> None:
        missing = sum(size for _, size in unread.spans)
        listed = ", ".join(f"{start:#x}-{start + n:#x}" for start, n in unread.spans[:_LISTED])
        more = f" and {len(unread.spans) - _LISTED} more" if len(unread.spans) > _LISTED else ""
        self.remarks.add(
            "region-partly-unread",
            "warning",
            f"region {spec.name}",
            f"{missing} of its {spec.size} bytes could not be read: {unread.error}. Missing are "
            f"the bytes {listed}{more}: what they held is unreadable, the rest is there",
        )


def _origin(found: Found, source: Source) -> str:
    """The file that a region is read from, where the user named one."""
    if source.name != FILE:
        return ""
    path = str(Path(source.memory.source).absolute())
    first, size = found.region.address, found.region.size
    return f"{path}, bytes {first:#x}-{first + size:#x}" if found.file else path


def leftovers(writer: SessionWriter, read_in: str) -> list[SavedRegion]:
    """The complete copies in ``incoming/`` that a boot other than ``read_in`` made."""
    regions: list[SavedRegion] = []
    for rel in writer.names(INCOMING):
        if not rel.endswith(".json"):
            continue
        region = _decode(writer.read(rel), rel[: rel.rindex("/") + 1])
        if region is None or region.read_in == read_in:
            continue
        if writer.content_sha256(f"{region.base}.raw") == region.sha256:
            regions.append(region)
    return regions


def drop_doubles(writer: SessionWriter) -> None:
    """Remove copies in ``incoming/`` without a description (after a kill) that a boot has too."""
    raw = [rel for rel in writer.names(INCOMING) if rel.endswith(".raw")]
    left = [rel for rel in raw if not writer.has(f"{rel.removesuffix('.raw')}.json")]
    bases = (rel.removesuffix(".json") for rel in writer.names("boots/") if _JSON.search(rel))
    saved = {writer.content_sha256(f"{base}.raw") for base in bases} if left else set()
    for rel in left:
        if writer.content_sha256(rel) in saved:
            writer.remove(rel)


def keep_unfinished(writer: SessionWriter, read_in: str, boot: int, remarks: Remarks) -> None:
    """Keep beside ``boot`` what recovers that were killed in boots other than ``read_in`` left.

    After :func:`leftovers` these are copies without a description of their own bytes: no run to
    come could finish them, for the boots that read them are gone. A description that is of other
    bytes is kept beside them, under a name that is no description's.
    """
    own = f"{INCOMING}{safe_name(read_in)}/"
    for rel in writer.names(INCOMING):
        if rel.startswith(own) or not rel.endswith(".raw"):
            continue
        base = rel.removesuffix(".raw")
        reader, _, name = base.removeprefix(INCOMING).rpartition("/")
        aside = _aside(writer, reader, name, boot)
        described = writer.has(f"{base}.json")
        if described:
            writer.move(f"{base}.json", f"{aside}{name}.json.other")
        writer.move(rel, f"{aside}{name}.raw")
        lacks = "its description is not of these bytes" if described else "it has no description"
        remarks.add(
            "region-left-over", "warning", f"region {name} in {INCOMING}{reader}/",
            f"a recover that was killed copied it, and {lacks}: nothing tells which boot wrote "
            f"it: it is in {aside}",
        )  # fmt: skip


def recovered_in(path: str | os.PathLike[str], boot_id: str) -> bool:
    """Whether the boot with this id has put a region into the session at ``path``.

    False where there is no session: opening it for writing says what is wrong.
    """
    try:
        session = Session.open(path)
    except SessionError:
        return False
    for rel in session.list("boots/"):
        if "/regions/" in rel and rel.endswith(".json"):
            region = _decode(session.read(rel), "")
            if region is not None and region.read_in == boot_id:
                return True
    return False


def assign(
    writer: SessionWriter, region: SavedRegion, owner: Owner, writer_identity: str, remarks: Remarks
) -> SavedRegion:
    """Move a region from ``incoming/`` to the boot that wrote it; returns where it is now.

    ``writer_identity`` identifies that boot. A new copy replaces one that the writing boot read
    itself, which is older, and what was read from a file gives way to another file; otherwise the
    first copy stays, because later boots may have written to the memory since. The other copy goes
    to ``other-copies/``.
    """
    boot = owner.boot
    if (plain := safe_name(region.name)) != region.name:
        remarks.add("name-replaced", "warning", f"region {region.name!r}", f"saved as {plain}")
    owned = replace(region, owner_evidence=owner.evidence, directory=f"boots/{boot}/regions/")
    existing = _decode(writer.read(f"{owned.base}.json"), owned.directory)
    intact = (
        existing is not None and writer.content_sha256(f"{existing.base}.raw") == existing.sha256
    )
    if existing is not None and intact:
        if existing.sha256 == region.sha256:
            writer.remove(f"{region.base}.raw")
            writer.remove(f"{region.base}.json")
            return existing
        both_files = existing.carrier == region.carrier == FILE
        spare = existing if both_files or existing.read_in == writer_identity else region
        aside = _aside(writer, spare.read_in, spare.name, boot)
        remarks.add(
            "region-copied-twice",
            "info",
            f"boot {boot} region {region.name}",
            "it was read twice, and held different bytes; what "
            f"{spare.origin or f'the boot {spare.read_in} read'}"
            f"{'' if spare is region or spare.origin else ' first'} is in {aside}",
        )
        if spare is region:
            owned = replace(owned, directory=aside)
        else:
            _move(writer, existing, replace(existing, directory=aside))
    _move(writer, region, owned)
    return owned


def set_aside(writer: SessionWriter, region: SavedRegion, boot: int) -> str:
    """Move a region to a boot's ``other-copies/``; returns where it is."""
    aside = _aside(writer, region.read_in, region.name, boot)
    _move(writer, region, replace(region, directory=aside))
    return aside


def _aside(writer: SessionWriter, read_in: str, name: str, boot: int) -> str:
    """Where there is room for another copy of a region: none of its name is there."""
    directory = f"boots/{boot}/other-copies/{safe_name(read_in)}"
    names = (f"{directory}/" if n == 1 else f"{directory}-{n}/" for n in count(1))
    return next(d for d in names if not writer.has(f"{d}{safe_name(name)}.raw"))


def _move(writer: SessionWriter, source: SavedRegion, target: SavedRegion) -> None:
    """Move the description first: until the bytes follow, they are complete where they were."""
    writer.write(f"{target.base}.json", target.encode())
    writer.move(f"{source.base}.raw", f"{target.base}.raw")
    writer.remove(f"{source.base}.json")
