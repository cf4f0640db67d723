"""Trace buffers that the first KHO patches' device tree (``ftrace-v1``) names, into a session.

Events are known by fingerprints, so any kernel's formats will do. Where a boot of the session gives
all events the ids that the tree has, the buffers are taken for that boot's. Otherwise they become
a boot of their own, with the formats that fit best, under the tree's ids.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path

from tracekit.capture.recover.discover import open_cores
from tracekit.capture.save.kernel import UNKNOWN_KERNEL
from tracekit.capture.save.snapshot import snapshot
from tracekit.carriers.dumps.dump_file import open_dump
from tracekit.carriers.memory import PhysicalMemory
from tracekit.errors import Diagnostic, FormatError, NothingToRecover, SourceError
from tracekit.frozen import dataclass, field
from tracekit.ftrace.format import EventFormat, parse_format
from tracekit.kho.seed import SEED_PATHS, SeedCpu, SeedTrace, fingerprint, parse_seed
from tracekit.remarks import Progress, Remarks, no_progress
from tracekit.session import SessionWriter, safe_name
from tracekit.session.files import dump_json
from tracekit.sysroot import Sysroot, find_tracefs

__all__ = ["SeedResult", "recover_seed", "recover_seed_files", "seed_tree"]

_FORMAT = re.compile(r"boots/(\d{1,3})/tracefs/events/([^/]+)/([^/]+)/format")
_ID = re.compile(r"^ID: \d+$", re.M)
_PROBE = "__probe_"  # fields of events that were made at run time, by kprobes and their kin
_NAMED = 8
_MAX_TREE = 16 << 20


@dataclass(frozen=True, slots=True)
class _Saved:
    """A saved format; ``made``: defined at run time, so that its name says nothing of its kind."""

    format: EventFormat
    path: str
    made: bool
    mark: int


@dataclass(slots=True)
class _Match:
    """A boot's formats under the ids of the tree."""

    boot: int
    formats: dict[int, _Saved] = field(default_factory=dict)
    moved: int = 0  # under another id than in that boot
    collisions: list[str] = field(default_factory=list)
    unknown: int = 0


@dataclass(frozen=True, slots=True)
class SeedResult:
    """``events`` ids of the tree have a format, ``unknown`` have none; ``pages`` by array."""

    session: Path
    boot: int
    version: str
    events: int
    unknown: int
    pages: Mapping[str, int]
    diagnostics: tuple[Diagnostic, ...]


class _Cores:
    """Several memories, of which each may hold something."""

    def __init__(self, memories: Iterable[PhysicalMemory]) -> None:
        self._memories = list(memories)
        self.bytes = sum(r.size for m in self._memories for r in m.ranges)

    def read(self, address: int, size: int) -> bytes:
        for memory in self._memories:
            if memory.holds(address, size):
                return memory.read(address, size)
        raise SourceError(f"no memory at hand holds {address:#x}-{address + size:#x}")


def _formats(writer: SessionWriter, remarks: Remarks) -> dict[int, list[_Saved]]:
    """Boot -> its saved formats."""
    found: dict[int, list[_Saved]] = {}
    for path in writer.names("boots/"):
        match = _FORMAT.fullmatch(path)
        data = writer.read(path) if match else None
        if match is None or data is None:
            continue
        try:
            fmt = parse_format(data.decode("utf-8", "backslashreplace"), match[2], path)
        except FormatError as error:
            remarks.add("format-invalid", "warning", path, str(error))
            continue
        made = fmt.system == "synthetic" or any(f.name.startswith(_PROBE) for f in fmt.fields)
        mark = fingerprint(fmt.name, [f.size for f in fmt.fields])
        found.setdefault(int(match[1]), []).append(_Saved(fmt, path, made, mark))
    return found


def _match(boot: int, saved: list[_Saved], seed: SeedTrace) -> _Match:
    """The formats of one boot, each under the id that the tree has for its fingerprint."""
    result = _Match(boot)
    by_id = {each.format.id: each for each in saved}
    for number in seed.fixed:
        if (each := by_id.get(number)) is not None and each.format.system == "ftrace":
            result.formats[number] = each
    wanted: dict[int | str, tuple[int, ...]] = {}
    wanted.update(seed.types.items())
    wanted |= {name: (number,) for name, number in seed.names.items()}
    keyed: dict[int | str, list[_Saved]] = {}
    for each in saved:
        keyed.setdefault(each.mark if seed.types else each.format.name, []).append(each)
    for key, numbers in wanted.items():
        candidates = keyed.get(key, [])
        for number in numbers:
            if number in result.formats:
                continue
            same = [each for each in candidates if each.format.id == number]
            if len(same) == 1:
                result.formats[number] = same[0]
            elif len(candidates) == len(numbers) == 1:
                result.formats[number] = candidates[0]
                result.moved += 1
            elif candidates:
                names = ", ".join(each.format.full_name for each in candidates[:4])
                result.collisions.append(f"{names} (id {number})")
            else:
                result.unknown += 1
    return result


def _without_made(match: _Match) -> None:
    """Of another kernel, an event that was made at run time may be of that name and size only."""
    for number, each in list(match.formats.items()):
        if each.made:
            del match.formats[number]
            match.collisions.append(f"{each.format.full_name}, made at run time (id {number})")


def _best(matches: list[_Match]) -> _Match | None:
    """The boot whose ids are the tree's, the newest first; else that with most events known."""
    own = [m for m in matches if m.formats and not m.moved]
    if own:
        return max(own, key=lambda m: (len(m.formats), m.boot))
    return max(matches, key=lambda m: (len(m.formats), m.boot), default=None)


def _write_formats(writer: SessionWriter, boot: int, match: _Match) -> None:
    """Write a match's formats under the tree's ids, and the page header, into a boot."""
    files: dict[str, bytes] = {}
    head = writer.read(f"boots/{match.boot}/tracefs/events/header_page")
    if head is not None:
        files["header_page"] = head
    for number, each in match.formats.items():
        text = (writer.read(each.path) or b"").decode("utf-8", "backslashreplace")
        name = each.path.split("/events/", 1)[1]
        files[name] = _ID.sub(f"ID: {number}", text, count=1).encode()
    writer.write_formats(boot, files)


def _place(
    writer: SessionWriter, seed: SeedTrace, match: _Match | None, remarks: Remarks
) -> tuple[int, bool]:
    """(the boot that the buffers go into, whether it was in the session)."""
    if match is not None and match.formats and not match.moved:
        remarks.add(
            "seed-owner", "info", "the tree",
            f"boot {match.boot} has the tree's id for each of {len(match.formats)} events: the "
            "buffers are taken for its own",
        )  # fmt: skip
        return match.boot, True
    boot = max(writer.manifest.boots, default=-1) + 1
    if match is None or not match.formats:
        remarks.add(
            "seed-formats", "warning", "the tree",
            "the session has no formats that fit: save those of any kernel with 'tracekit "
            "snapshot' and recover again; until then events are unknown",
        )  # fmt: skip
        return boot, False
    _without_made(match)
    _write_formats(writer, boot, match)
    remarks.add(
        "seed-formats", "info", "the tree",
        f"{len(match.formats)} events are decoded with the formats of boot {match.boot}, "
        f"{match.moved} of them under another id than there",
    )  # fmt: skip
    return boot, False


def _account(match: _Match | None, remarks: Remarks) -> None:
    if match is not None and match.collisions:
        some = "; ".join(match.collisions[:_NAMED])
        more = len(match.collisions) - _NAMED
        remarks.add(
            "seed-collision", "warning", "the tree",
            f"{len(match.collisions)} fingerprints fit an event that may be another one, and are "
            f"not decoded: {some}{f' and {more} more' if more > 0 else ''}",
        )  # fmt: skip
    if match is not None and match.unknown:
        message = f"{match.unknown} events of the tree have no format in the session"
        remarks.add("seed-unknown", "warning", "the tree", message)
    remarks.add(
        "seed-loses", "info", "the tree",
        "this format has no reader pages: what a reader had been handed last, or had not read to "
        "its end, is lost; nor does it tell the clock, names, or how much was overwritten",
    )  # fmt: skip


def _save_cpu(
    writer: SessionWriter, rel: str, cpu: SeedCpu, memory: _Cores, left: int
) -> tuple[int, list[str]]:
    """Write a CPU's pages; returns how many, and why others could not be read."""
    errors: list[str] = []
    if len(cpu.pages) * cpu.subbuf_size > left:
        return 0, [f"{len(cpu.pages)} pages are more than all memory that is at hand"]
    pages = list(cpu.read(memory, errors.append))
    if pages:
        with writer.stream(rel, sum(map(len, pages))) as sink:
            for page in pages:
                sink.write(page)
    return len(pages), errors


def _save_pages(
    writer: SessionWriter, boot: int, seed: SeedTrace, memory: _Cores, remarks: Remarks
) -> dict[str, int]:
    """Write all buffers; returns how many pages each array has."""
    counts: dict[str, int] = {}
    left = memory.bytes
    for array in seed.arrays:
        place = f"instances/{safe_name(array.name)}/" if array.name else ""
        for cpu in array.cpus:
            rel = f"boots/{boot}/tracefs/{place}per_cpu/cpu{cpu.cpu}/trace_pipe_raw"
            count, errors = _save_cpu(writer, rel, cpu, memory, left)
            counts[array.name] = counts.get(array.name, 0) + count
            left -= len(cpu.pages) * cpu.subbuf_size
            if errors:
                where = f"{array.name or 'global buffer'} cpu {cpu.cpu}"
                message = f"{len(errors)} pages could not be read: {errors[0]}"
                remarks.add("seed-incomplete", "warning", where, message)
    return counts


def _recover(
    tree: bytes, source: str, memory: _Cores, session_path: str | os.PathLike[str]
) -> SeedResult:
    remarks = Remarks()
    seed = parse_seed(tree, source, remarks.append)
    if seed is None:
        raise SourceError(
            f"{source}: not a tree of the first KHO patches: it has no node ftrace that is "
            "compatible with ftrace-v1"
        )
    if not any(cpu.pages for array in seed.arrays for cpu in array.cpus):
        raise NothingToRecover(f"{source}: the tree names no page of a trace buffer")
    with SessionWriter.open(session_path) as writer:
        saved = _formats(writer, remarks)
        match = _best([_match(boot, formats, seed) for boot, formats in saved.items()])
        boot, known = _place(writer, seed, match, remarks)
        pages = _save_pages(writer, boot, seed, memory, remarks)
        if not known:
            writer.write(f"boots/{boot}/kernel.json", dump_json(dict(UNKNOWN_KERNEL)))
            writer.add_boot(boot)
        _account(match, remarks)
        writer.set_diagnostics(None, remarks.diagnostics)
        writer.finish("recovered")
        return SeedResult(
            writer.path, boot, seed.version, len(match.formats) if match else 0,
            match.unknown + len(match.collisions) if match else 0, pages,
            tuple(remarks.diagnostics),
        )  # fmt: skip


def seed_tree(root: Sysroot) -> str | None:
    """Where a root has a tree of the first KHO patches, None where it has none."""
    for rel in SEED_PATHS:
        try:
            data = root.get(rel, _MAX_TREE)
            if data is not None and parse_seed(data, root.where(rel)) is not None:
                return rel
        except SourceError:
            continue
    return None


def recover_seed(
    root: Sysroot, rel: str, session_path: str | os.PathLike[str], progress: Progress = no_progress
) -> SeedResult:
    """The buffers that the tree at ``rel`` of a root names, and the root's own boot."""
    remarks = Remarks()
    with ExitStack() as stack:
        cores = open_cores(root, remarks, stack)
        memory = _Cores(core.memory for core in cores)
        result = _recover(root.read(rel, _MAX_TREE), root.where(rel), memory, session_path)
    if find_tracefs(root) is not None:
        snapshot(root, session_path, progress)
    return result


def recover_seed_files(tree: str, dump: str, session_path: str | os.PathLike[str]) -> SeedResult:
    """The buffers that the tree in a file names, out of the memory in another."""
    try:
        with open(tree, "rb") as file:  # noqa: PTH123
            data = file.read(_MAX_TREE + 1)
        stream = open(dump, "rb")  # noqa: PTH123, SIM115 - the memory closes it
    except OSError as error:
        raise SourceError(f"{error.filename}: cannot be read: {error.strerror}") from error
    with open_dump(stream, dump) as memory:
        return _recover(data, tree, _Cores([memory]), session_path)
