"""Drains ``per_cpu/cpuN/trace_pipe_raw``: the new kernel's own global buffer.

On a live kernel reading consumes (``tracing_buffers_read()`` in ``kernel/trace/trace.c``): a page
that was read exists nowhere else. So the kernel copies each page straight into a shared mapping of
a ``.part`` file, which a killed run leaves behind intact and the next one continues.
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Mapping
from typing import BinaryIO

from tracekit.capture.save.boot_files import Saving
from tracekit.errors import SourceError
from tracekit.frozen import dataclass
from tracekit.session import MAX_REGION, SessionWriter

__all__ = ["Pipes", "drain", "drain_pipes", "finish_pipes", "own_pipes"]

_CPU = re.compile(r"cpu\d{1,5}")
_WINDOW = 256  # pages mapped at a time
_MAX_SUBBUF_KB = 1 << 10
_PIECE = 1 << 20
_HUGE, _HOLLOW = 64 << 20, 64  # bytes of a saved file, and times its size on disk


@dataclass(frozen=True, slots=True)
class Pipes:
    """Pipes to drain: ``place`` is the instance's directory, the tracefs for the global buffer.

    The pages go to ``SESSION/target/cpuN/trace_pipe_raw``; ``part`` begins the names of the files
    that they are in until then.
    """

    place: str
    target: str
    part: str
    title: str

    def part_of(self, cpu: str) -> str:
        """The name of a CPU's file while it is drained."""
        return f"{self.part}.{cpu}"


def own_pipes(saving: Saving, tracefs: str) -> Pipes:
    """Those of the global buffer of the boot that is saved."""
    title = "reading the new kernel's own trace buffer"
    part = f"boots/{saving.boot}/trace_pipe_raw"
    return Pipes(tracefs, saving.rel("tracefs/per_cpu"), part, title)


def _page_size(saving: Saving, tracefs: str, kernel: Mapping[str, object]) -> int:
    """Bytes of one sub-buffer: what one read returns."""
    text = (saving.get(f"{tracefs}/buffer_subbuf_size_kb", None) or b"").strip()
    if text.isdigit() and len(text) < 10 and 4 <= int(text) <= _MAX_SUBBUF_KB:
        return int(text) << 10
    size = kernel.get("page_size")
    return size if isinstance(size, int) else 4096


def _complete(fd: int, page: int) -> int:
    """The size of what an earlier run drained: whole pages, without the window's unused end."""
    end = os.fstat(fd).st_size // page * page
    empty = bytes(page)
    while end and os.pread(fd, page, end - page) == empty:
        end -= page
    return end


def _drain_window(source: int, window: mmap.mmap, page: int) -> int:
    """Read into a mapping until it is full or the buffer empty; returns the bytes read."""
    filled = 0
    with memoryview(window) as view:
        while filled + page <= len(window):
            try:
                got = os.readv(source, [view[filled : filled + page]])
            except BlockingIOError:
                break
            filled += got
            if got < page:
                break
    return filled


def drain(source: BinaryIO, fd: int, page: int, resume: bool, limit: int) -> bool:
    """Append what ``source`` yields to the part file; False when it had more than ``limit``."""
    end = start = _complete(fd, page) if resume else 0
    window_size = page * _WINDOW
    exhausted = False
    try:
        while not exhausted and end - start < limit:
            os.ftruncate(fd, end)
            os.posix_fallocate(fd, end, window_size)  # a full disk shows before a page is consumed
            with mmap.mmap(fd, window_size, offset=end) as window:
                got = _drain_window(source.fileno(), window, page)
            end += got
            exhausted = got < window_size
    finally:
        os.ftruncate(fd, end)
        os.fsync(fd)
    return exhausted


def _limit(saving: Saving, tracefs: str) -> int:
    """Bytes after which reading a live buffer stops: it is written to faster than it is read."""
    if not saving.root.live:
        return MAX_REGION
    text = saving.get(f"{tracefs}/buffer_size_kb", None) or b""
    sizes = [int(number) for number in re.findall(rb"\d{1,12}", text)]
    return min(MAX_REGION, 2 * 1024 * max(sizes, default=1 << 16))


def drain_pipes(saving: Saving, pipes: Pipes, kernel: Mapping[str, object]) -> list[str]:
    """Drain every CPU's pages into ``.part`` files of the session; returns the CPUs' names."""
    page = _page_size(saving, pipes.place, kernel)
    limit = _limit(saving, pipes.place)
    paths = saving.glob(f"{pipes.place}/per_cpu/cpu[0-9]*/trace_pipe_raw")
    drained: list[str] = []
    with saving.progress(pipes.title, len(paths)) as advance:
        for rel in paths:
            cpu = rel.split("/")[-2]
            try:
                source = saving.root.open_binary(rel) if _CPU.fullmatch(cpu) else None
            except SourceError as error:
                saving.remarks.add("pipe-unreadable", "warning", rel, str(error))
                source = None
            advance(1)
            if source is not None:
                with source:
                    _drain_cpu(saving, source, pipes.part_of(cpu), page, limit)
            if saving.writer.has_part(pipes.part_of(cpu)):  # an earlier run's will do
                drained.append(cpu)
    return drained


def _drain_cpu(saving: Saving, source: BinaryIO, part: str, page: int, limit: int) -> None:
    where = f"trace_pipe_raw of {part.rpartition('.')[2]}"
    if not saving.root.live:  # holes of a saved file are no record
        limit = min(limit, max(_HUGE, _HOLLOW * 512 * os.fstat(source.fileno()).st_blocks))
    fd = saving.writer.open_part(part)
    try:
        exhausted = drain(source, fd, page, saving.root.live, limit)
    except OSError as error:
        saving.remarks.add("pipe-unreadable", "warning", where, error.strerror or str(error))
        return
    finally:
        os.close(fd)
    if not exhausted:
        saving.remarks.add(
            "pipe-still-filling",
            "warning",
            where,
            f"it is written to faster than it is read, or was saved with holes; stopped after "
            f"{limit} bytes",
        )


def finish_pipes(saving: Saving, pipes: Pipes, cpus: list[str]) -> None:
    """Turn the ``.part`` files into ``cpuN/trace_pipe_raw``.

    On a live kernel they are appended to what an earlier run saved, which was consumed.
    """
    writer = saving.writer
    for cpu in cpus:
        rel, part = f"{pipes.target}/{cpu}/trace_pipe_raw", pipes.part_of(cpu)
        if not saving.root.live:
            _store_part(writer, part, rel)
            continue
        pages = writer.read_part(part)
        earlier = writer.read(rel) or b""
        # A run killed between these two lines has saved the pages already.
        if not (pages and earlier.endswith(pages)):
            writer.write(rel, earlier + pages, compressed=True)
        writer.remove_part(part)


def _store_part(writer: SessionWriter, part: str, rel: str) -> None:
    """Save a part as ``rel``, a piece at a time."""
    fd = writer.open_part(part)
    with os.fdopen(fd, "rb") as file, writer.stream(rel, os.fstat(fd).st_size) as sink:
        while piece := file.read(_PIECE):
            sink.write(piece)
    writer.remove_part(part)
