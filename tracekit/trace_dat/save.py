"""A trace.dat as a boot of a session: the files that ``snapshot`` would have saved, and the pages.

Names come out of the file: none of them decides where anything is written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from tracekit.capture.save.kernel import UNKNOWN_KERNEL, symbol_address
from tracekit.errors import Diagnostic, SessionError, SourceError
from tracekit.frozen import dataclass
from tracekit.session import MAX_REGION, SessionWriter, safe_name
from tracekit.session.staged import StagedTree
from tracekit.trace_dat.layout import Buffer, Option, TraceDat
from tracekit.trace_dat.parse import blocks_of, parse, read_cpu
from tracekit.trace_dat.stream import Stream

__all__ = ["Imported", "import_files"]

_NAME = re.compile(rb"^name: (\S+)\s*$", re.M)
_CHOSEN = re.compile(r"\[([^\s\[\]]+)\]")
_MACHINES = {"x86_64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of one file: the boot's index and release, buffers, formats, bytes of events."""

    boot: int
    release: str
    buffers: tuple[str, ...]
    formats: int
    size: int
    diagnostics: tuple[Diagnostic, ...]


def import_files(paths: Sequence[Path], session: str, progress: Progress) -> list[Imported]:
    """Write a new session with a boot for each file, in that order; what is read is left alone.

    Raises :class:`~tracekit.errors.SourceError` for a file that is none, before anything is
    written, and :class:`~tracekit.errors.SessionError` where ``session`` is not new.
    """
    for path in paths:
        with _opened(path) as file:
            parse(file, str(path))
    place = Path(session)
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise SessionError(f"{session}: exists already: import makes a new session")
    with SessionWriter.open(session) as writer:
        done = [_import(path, boot, writer, progress) for boot, path in enumerate(paths)]
        writer.finish("snapshot")
    return done


def _opened(path: Path) -> Any:
    try:
        if not path.is_file():
            kind = "not a plain file" if path.exists() else "no such file"
            raise SourceError(f"{path}: {kind}: a trace.dat is expected")
        return path.open("rb")
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from error


def _import(path: Path, boot: int, writer: SessionWriter, progress: Progress) -> Imported:
    with _opened(path) as file:
        dat, stream = parse(file, str(path))
        notes = [Diagnostic(d.code, d.severity, str(path), d.message) for d in dat.notes]
        kernel = _kernel(dat)
        formats = _write_formats(dat, writer, boot, notes, str(path))
        with writer.tree(f"boots/{boot}/tracefs") as tree:
            _write_tables(dat, tree)
        if dat.kallsyms:
            writer.write(f"boots/{boot}/kallsyms", dat.kallsyms, compressed=True)
        if dat.modules:
            writer.write(f"boots/{boot}/modules", dat.modules)
        size = _write_events(dat, stream, boot, writer, progress)
        if not size:
            message = "there are no events in it"
            notes.append(Diagnostic("trace-dat-empty", "warning", str(path), message))
    about = json.dumps(_about(dat, path.name), indent=1).encode() + b"\n"
    writer.write(f"boots/{boot}/imported.json", about)
    writer.write(f"boots/{boot}/kernel.json", json.dumps(kernel, indent=1).encode() + b"\n")
    writer.set_diagnostics(boot, notes)
    writer.add_boot(boot)
    names = tuple(b.name or "global" for b in dat.buffers if any(c.size for c in b.cpus))
    return Imported(boot, str(kernel["release"]), names, formats, size, tuple(notes))


def _kernel(dat: TraceDat) -> dict[str, Any]:
    """``kernel.json``, as far as the file tells."""
    words = dat.option_text(Option.UNAME).split()
    chosen = _CHOSEN.search(dat.clock)
    return dict(UNKNOWN_KERNEL) | {
        "known": True,
        "release": words[2] if len(words) > 2 else None,
        "version": " ".join(words) or None,
        "cpus": dat.cpus or None,
        "page_size": dat.page_size if dat.page_size in (4096, 16384, 65536) else None,
        "machine": _MACHINES.get(words[-1]) if words else None,
        "text_address": symbol_address(dat.kallsyms, "_text"),
        "trace_clock": chosen[1] if chosen else None,
    }


def _about(dat: TraceDat, name: str) -> dict[str, Any]:
    """What trace-cmd noted and no other file of a session holds."""
    return {
        "file": name,
        "version": dat.version,
        "compression": dat.compression,
        "trace_cmd": dat.option_text(Option.VERSION),
        "date_offset": dat.option_text(Option.DATE),
        "offset_ns": dat.option_text(Option.OFFSET),
        "trace_id": int.from_bytes(dat.options.get(Option.TRACEID, b"")[:8], "little") or None,
        "tsc2nsec": _tsc2nsec(dat.options.get(Option.TSC2NSEC, b"")),
        "time_shift": Option.TIME_SHIFT in dat.options,
    }


def _tsc2nsec(data: bytes) -> Mapping[str, int] | None:
    if len(data) < 16:
        return None
    places = {"mult": (0, 4), "shift": (4, 8), "offset": (8, 16)}
    return {key: int.from_bytes(data[a:b], "little") for key, (a, b) in places.items()}


def _write_formats(
    dat: TraceDat, writer: SessionWriter, boot: int, notes: list[Diagnostic], where: str
) -> int:
    """The events; returns the number of formats."""
    heads = {"header_page": dat.header_page, "header_event": dat.header_event}
    files = {name: data for name, data in heads.items() if data}
    seen = 0
    for system, texts in dat.format_files().items():
        for text in texts:
            name = _NAME.search(text)
            called = name[1].decode("utf-8", "backslashreplace") if name else f"unnamed-{seen}"
            rel = f"{safe_name(system)}/{safe_name(called)}/format"
            if rel in files:
                message = f"{system}:{called} is described twice; the first is used"
                notes.append(Diagnostic("trace-dat-event-twice", "warning", where, message))
                continue
            seen += 1
            files[rel] = text
    writer.write_formats(boot, files)
    return seen


def _write_tables(dat: TraceDat, tree: StagedTree) -> None:
    """The rest of the tracefs."""
    plain = {
        "saved_cmdlines": dat.cmdlines, "printk_formats": dat.printk,
        "trace_clock": dat.clock.encode() + b"\n" if dat.clock else b"",
    }  # fmt: skip
    for rel, data in plain.items():
        if data:
            tree.write(rel, data)
    for buffer in dat.buffers:
        base = _base(buffer)
        if buffer.name:
            tree.write(f"{base}buffer_subbuf_size_kb", b"%d\n" % (buffer.subbuf_size >> 10))
            tree.write(f"{base}trace_clock", _clock(dat, buffer).encode() + b"\n")
        for (of, cpu), text in dat.stats.items():
            if of == buffer.name and text:
                tree.write(f"{base}per_cpu/cpu{cpu}/stats", text)


def _clock(dat: TraceDat, buffer: Buffer) -> str:
    return f"[{buffer.clock}]" if _CHOSEN.fullmatch(f"[{buffer.clock}]") else dat.clock


def _base(buffer: Buffer) -> str:
    """Where a buffer's files are below the tracefs."""
    return f"instances/{safe_name(buffer.name)}/" if buffer.name else ""


def _write_events(
    dat: TraceDat, stream: Stream, boot: int, writer: SessionWriter, progress: Progress
) -> int:
    """The pages of every CPU; returns how many bytes."""
    blocks, total = blocks_of(dat, stream), 0
    every = [(buffer, cpu) for buffer in dat.buffers for cpu in buffer.cpus if cpu.size]
    with progress(f"reading {Path(stream.name).name}", sum(c.size for _, c in every)) as advance:
        for buffer, cpu in every:
            size, pieces = read_cpu(dat, stream, blocks, buffer, cpu)
            if size > MAX_REGION:
                raise stream.fail(f"CPU {cpu.cpu} has {size:,} bytes of events; at most 4 GiB")
            rel = f"boots/{boot}/tracefs/{_base(buffer)}per_cpu/cpu{cpu.cpu}/trace_pipe_raw"
            with writer.stream(rel, size) as sink:
                for piece in _counted(pieces, cpu.size, size, advance):
                    sink.write(piece)
            total += size
    return total


def _counted(
    pieces: Iterator[bytes], stored: int, size: int, advance: Callable[[int], None]
) -> Iterator[bytes]:
    """The pieces; the progress is told of bytes in the file."""
    for piece in pieces:
        yield piece
        advance(len(piece) * stored // max(1, size))
