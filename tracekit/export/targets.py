"""Where exports go: a file that is replaced when it is whole, standard output, a pipe, a device.

The name says how a file is compressed, and must not say that it is something else than it will be.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import BinaryIO, Literal, cast

from tracekit.errors import SourceError, UsageError
from tracekit.session.packing.compression import compressor
from tracekit.session.parts import replacing

__all__ = ["Form", "check_target", "opened_target", "replaced_file"]

Form = Literal[
    "csv", "html", "json", "junit", "openmetrics", "parquet", "perfetto", "svg", "table",
    "trace.dat",
]  # fmt: skip
_COMPRESSED = (".gz", ".zst")
_OTHERS = frozenset({
    ".7z", ".br", ".bz2", ".lz", ".lz4", ".lzma", ".lzo", ".rar", ".s2", ".snappy", ".sz", ".tar",
    ".tbz", ".tbz2", ".tgz", ".txz", ".tzst", ".xz", ".z", ".zip", ".zstd",
})  # fmt: skip
_SPREADSHEETS = frozenset({".numbers", ".ods", ".xls", ".xlsb", ".xlsm", ".xlsx"})
_ARROW = frozenset({".parquet", ".pq", ".arrow", ".feather"})
_LINES = frozenset({".json", ".jsonl"})
_CELLS = frozenset({".csv", ".tsv"})
_DRAWN = frozenset({".svg", ".html", ".htm", ".png", ".jpg", ".pdf"})
_TRACES = frozenset({".pftrace", ".dat"})
#: The endings that say that something else is in the file.
_MEANT: dict[Form, frozenset[str]] = {
    "csv": _ARROW | _LINES | _DRAWN,
    "html": _ARROW | _LINES | _CELLS | _TRACES | _DRAWN - {".html", ".htm"},
    "json": _ARROW | _CELLS | _DRAWN,
    "junit": _ARROW | _LINES | _CELLS | _TRACES | _DRAWN,
    "openmetrics": _ARROW | _LINES | _CELLS | _TRACES | _DRAWN,
    "parquet": _LINES | _CELLS | _DRAWN | {".txt", ".arrow", ".feather"},
    "perfetto": _ARROW | _LINES - {".json"} | _CELLS | _DRAWN | {".dat"},
    "svg": _ARROW | _LINES | _CELLS | _TRACES | _DRAWN - {".svg"},
    "table": _ARROW | _LINES | _CELLS,
    "trace.dat": _ARROW | _LINES | _CELLS | _DRAWN | {".pftrace"},
}
_NAMES: dict[Form, str] = {
    "csv": "CSV", "html": "HTML", "json": "JSON", "junit": "JUnit XML",
    "openmetrics": "OpenMetrics", "parquet": "Parquet", "perfetto": "a Perfetto trace",
    "svg": "an SVG picture", "table": "text", "trace.dat": "a trace.dat",
}  # fmt: skip
_ENDINGS: dict[Form, str] = {
    "csv": "csv", "html": "html", "json": "json", "junit": "xml", "openmetrics": "prom",
    "parquet": "parquet", "perfetto": "pftrace", "svg": "svg", "table": "txt", "trace.dat": "dat",
}  # fmt: skip
#: Forms whose readers unpack no file, and what to know of it.
_PLAIN: dict[Form, str] = {
    "parquet": "Parquet is compressed inside (zstd)",
    "trace.dat": "trace-cmd reads no file that was compressed as a whole",
}


def check_target(target: Path, form: Form) -> str:
    """How the file is to be compressed: ``.gz``, ``.zst`` or ''.

    Raises :class:`~tracekit.errors.UsageError` for a name that says something else than what the
    file would hold, and for Parquet and trace.dat on standard output.
    """
    if str(target) == "-":
        if form == "parquet":
            raise UsageError("-o -: Parquet needs a file, it is not written in order: name one")
        if form == "trace.dat":
            raise UsageError("-o -: trace-cmd reads a trace.dat out of order: name a file")
        return ""
    name = PurePath(target.name)
    last = name.suffix.lower()
    if form in _PLAIN and last in (*_COMPRESSED, *_OTHERS):
        raise UsageError(f"{target}: {_PLAIN[form]}: name it {name.stem}, without {last}")
    if form == "perfetto" and last == ".zst":
        raise UsageError(f"{target}: Perfetto reads .gz, not .zst: name it {name.stem}.gz")
    if last in _OTHERS:
        raise UsageError(
            f"{target}: {_NAMES[form]} is not compressed as {last}, only as .gz or .zst: "
            f"name it {name.stem}.gz, or write -o - and compress it"
        )
    suffix = last if last in _COMPRESSED else ""
    inner = PurePath(name.stem).suffix.lower() if suffix else last
    if inner in _OTHERS or inner in _SPREADSHEETS or inner in _MEANT[form]:
        raise UsageError(
            f"{target}: what is written is {_NAMES[form]}, not {inner}: name it "
            f"{PurePath(name.stem).stem if suffix else name.stem}.{_ENDINGS[form]}{suffix}"
        )
    return suffix


@contextmanager
def replaced_file(target: Path) -> Iterator[BinaryIO]:
    """A file that replaces ``target``, which the user named, when it is whole.

    A symbolic link is followed; what is not a plain file is not replaced. Raises
    :class:`~tracekit.errors.TracekitError`.
    """
    target = target.resolve()
    if target.exists() and not target.is_file():
        raise UsageError(f"{target} is not a plain file: name one that is, or one to be made")
    try:
        with replacing(target) as part:
            yield part
    except OSError as error:
        raise SourceError(f"{target}: cannot be written: {error.strerror or error}") from error


@contextmanager
def _raw(target: Path) -> Iterator[BinaryIO]:
    if str(target) == "-":
        yield sys.stdout.buffer
    elif target.exists() and not target.is_file():
        with target.open("wb") as out:
            yield out
    else:
        with replaced_file(target) as part:
            yield part


@contextmanager
def opened_target(target: Path, form: Form) -> Iterator[BinaryIO]:
    """A stream into a plain file, ``-`` (standard output), a pipe or a device.

    It compresses where the name says so. Raises :class:`~tracekit.errors.TracekitError`.
    """
    suffix = check_target(target, form)
    with _raw(target) as raw:
        if not suffix:
            yield raw
            return
        sink = compressor(raw, suffix)
        yield cast(BinaryIO, sink)
        sink.close()
