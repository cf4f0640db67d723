"""``budget.toml``: what a handover may take, absolute or against a baseline."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tracekit.errors import ParseError, SourceError
from tracekit.frozen import dataclass
from tracekit.runs.run import KINDS, Figure, Kind, Run
from tracekit.runs.sets import spread_of
from tracekit.text import UNITS, printable

__all__ = [
    "Baseline",
    "Budget",
    "Limit",
    "parse_budget",
    "read_budget",
    "read_text",
    "with_baseline",
]

_TABLES: Mapping[str, Kind] = {
    "phases": "phase", "devices": "device", "initcalls": "initcall", "units": "unit",
}  # fmt: skip
_TABLE_OF = {kind: table for table, kind in _TABLES.items()} | {"total": "totals"}
_TOTALS = ("blackout", "gap")
_COUNTS = ("lost", "unreadable", "undecodable")
_OTHERS = ("clock_error", "dma_left")
_DURATION = re.compile(r"(\d{1,12}(?:\.\d{1,9})?) ?(ns|us|µs|ms|s)")
_PERCENT = re.compile(r"(\d{1,4}(?:\.\d{1,6})?) ?%")
_NS = {name: ns for ns, name in UNITS} | {"us": 1000}
_TOLERANCE = 0.05
_HEAD = "[baseline]"


@dataclass(frozen=True, slots=True)
class Limit:
    """At most ``limit`` (ns, or a count) of what ``pattern``, a glob, names.

    ``kind`` is that of a figure, or "lost" and the like. ``line`` is its line in the file, from 1.
    """

    kind: str
    pattern: str
    limit: int
    line: int


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a figure was in earlier runs: its median, how far a run was from it, and errors, ns."""

    kind: Kind
    name: str
    runs: int
    median_ns: int
    spread_ns: int
    error_ns: int
    line: int


@dataclass(frozen=True, slots=True)
class Budget:
    """A budget file. ``dma_left``: globs of devices that may be left able to do DMA, None: all.

    ``tolerance`` is how much slower than the baseline a figure may be, a share of its median;
    ``least_ns``: a difference that never counts.
    """

    source: str
    limits: tuple[Limit, ...] = ()
    dma_left: tuple[str, ...] | None = None
    dma_line: int = 0
    tolerance: float = _TOLERANCE
    least_ns: int = 0
    baselines: tuple[Baseline, ...] = ()


class _Lines:
    """Where keys stand in the text; tomllib does not tell."""

    def __init__(self, text: str) -> None:
        self._at: dict[tuple[str, str], int] = {}
        table = ""
        for number, line in enumerate(text.splitlines(), 1):
            stripped = line.strip()
            if stripped.startswith("["):
                table = stripped.strip("[] ")
            elif "=" in stripped and not stripped.startswith("#"):
                key = _key(stripped)
                self._at.setdefault((table, key), number)

    def of(self, table: str, key: str) -> int:
        """The line of a key, 1 where it was not found."""
        return self._at.get((table, key), 1)


def _key(line: str) -> str:
    """The key that a line begins with."""
    quoted = re.match(r'"((?:[^"\\]|\\.)*)"\s*=', line)
    if quoted:
        try:
            return str(json.loads(f'"{quoted[1]}"'))
        except ValueError:
            return quoted[1]
    literal = re.match(r"'([^']*)'\s*=", line)
    return literal[1] if literal else line.partition("=")[0].strip()


def _fail(source: str, line: int, what: str) -> ParseError:
    return ParseError(f"{source}:{line}: {what}")


def _nanoseconds(value: object, source: str, line: int) -> int:
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise _fail(source, line, f'{value!r} is no time: write "250 ms" or "3.5 s"')
    return round(float(match[1]) * _NS[match[2]])


def _count(value: object, source: str, line: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 63:
        raise _fail(source, line, f"{value!r} is no count: write a whole number")
    return value


def _table(document: Mapping[str, Any], name: str, source: str) -> Mapping[str, Any]:
    table = document.get(name, {})
    if not isinstance(table, dict):
        raise _fail(source, 1, f"{name} is no table: write [{name}]")
    return table


def _known(table: Mapping[str, Any], names: Sequence[str], where: str, source: str,
           lines: _Lines) -> None:  # fmt: skip
    for name in table:
        if name not in names:
            known = ", ".join(names)
            raise _fail(source, lines.of(where, name), f"[{where}] has no {name!r}: {known}")


def _limits(table: Mapping[str, Any], source: str, lines: _Lines) -> Iterator[Limit]:
    names = (*_TOTALS, *_COUNTS, *_OTHERS, *_TABLES)
    _known(table, names, "limits", source, lines)
    for name in (*_TOTALS, "clock_error"):
        if name in table:
            line = lines.of("limits", name)
            kind = "total" if name in _TOTALS else name
            yield Limit(kind, name, _nanoseconds(table[name], source, line), line)
    for name in _COUNTS:
        if name in table:
            line = lines.of("limits", name)
            yield Limit(name, name, _count(table[name], source, line), line)
    for name, kind in _TABLES.items():
        for pattern, value in _table(table, name, source).items():
            line = lines.of(f"limits.{name}", pattern)
            yield Limit(kind, pattern, _nanoseconds(value, source, line), line)


def _dma(table: Mapping[str, Any], source: str, line: int) -> tuple[str, ...] | None:
    allowed = table.get("dma_left")
    if allowed is None:
        return None
    if not isinstance(allowed, list) or not all(isinstance(one, str) for one in allowed):
        raise _fail(source, line, "dma_left lists the devices that may be left so: [] is none")
    return tuple(allowed)


def _baselines(table: Mapping[str, Any], source: str, lines: _Lines) -> Iterator[Baseline]:
    for kind in KINDS:
        name = _TABLE_OF[kind]
        for key, values in _table(table, name, source).items():
            line = lines.of(f"baseline.{name}", key)
            fields = ("runs", "median_ns", "spread_ns", "error_ns")
            if not isinstance(values, dict) or set(values) != set(fields):
                raise _fail(source, line, f"{key!r} needs {', '.join(fields)}: 'check --update'")
            runs, median, spread, error = (_count(values[f], source, line) for f in fields)
            yield Baseline(kind, key, runs, median, spread, error, line)


def _share(value: object, source: str, line: int) -> float:
    match = _PERCENT.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise _fail(source, line, f'{value!r} is no share: write "5 %"')
    return float(match[1]) / 100


def parse_budget(text: str, source: str) -> Budget:
    """Read a budget; ``source`` names it in errors.

    Raises :class:`~tracekit.errors.ParseError` with the line.
    """
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ParseError(f"{source}: not TOML: {error}") from error
    lines = _Lines(text)
    _known(document, ("limits", "baseline"), "", source, lines)
    limits, base = _table(document, "limits", source), _table(document, "baseline", source)
    _known(base, ("tolerance", "least", *_TABLE_OF.values()), "baseline", source, lines)
    dma_line = lines.of("limits", "dma_left")
    tolerance, least = base.get("tolerance"), base.get("least")
    at = lines.of("baseline", "tolerance"), lines.of("baseline", "least")
    return Budget(
        source,
        tuple(_limits(limits, source, lines)),
        _dma(limits, source, dma_line),
        dma_line,
        _TOLERANCE if tolerance is None else _share(tolerance, source, at[0]),
        0 if least is None else _nanoseconds(least, source, at[1]),
        tuple(_baselines(base, source, lines)),
    )


def read_budget(path: Path) -> Budget:
    """The budget in a file. Raises :class:`~tracekit.errors.TracekitError`."""
    return parse_budget(read_text(path), str(path))


def read_text(path: Path) -> str:
    """The file's text. Raises :class:`~tracekit.errors.TracekitError`."""
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ParseError(f"{path}: not TOML, which is UTF-8: {error}") from error


# -- written from runs ------------------------------------------------------------------------

_NEW = """\
# What a handover may take; 'tracekit check SESSION --budget' holds runs against it.
[limits]
lost = 0
# blackout = "3.5 s"
# gap = "2.1 s"
# clock_error = "1 ms"
# dma_left = []

# [limits.devices]
# "0000:00:*" = "20 ms"

"""


def _quoted(name: str) -> str:
    return json.dumps(printable(name), ensure_ascii=False)


def _baseline_lines(runs: Sequence[Run], tolerance: str, least: str) -> Iterator[str]:
    yield _HEAD
    yield f"tolerance = {_quoted(tolerance)}"
    yield f"least = {_quoted(least)}"
    for kind in KINDS:
        named: dict[str, list[Figure]] = {}
        for figure in (f for run in runs for f in run.figures if f.kind == kind):
            if figure.ns is not None and figure.error_ns is not None:
                named.setdefault(figure.name, []).append(figure)
        if not named:
            continue
        yield f"\n[baseline.{_TABLE_OF[kind]}]"
        for name, figures in named.items():
            s = spread_of(figures, len(runs))
            middle = round(s.median_ns or 0)
            away = max(abs((end or 0) - middle) for end in (s.least_ns, s.most_ns))
            yield (f"{_quoted(name)} = {{ runs = {s.n}, median_ns = {middle}, "
                   f"spread_ns = {away}, error_ns = {s.error_ns or 0} }}")  # fmt: skip


def with_baseline(before: str | None, runs: Sequence[Run], source: str) -> str:
    """The text of a budget whose baseline is made of runs; its limits stay as they are."""
    tolerance, least = "5 %", "1 ms"
    head = _NEW
    if before is not None:
        parse_budget(before, source)
        base = tomllib.loads(before).get("baseline", {})
        tolerance, least = base.get("tolerance", tolerance), base.get("least", least)
        kept: list[str] = []
        inside = False
        for line in before.splitlines():
            if line.strip().startswith("["):
                inside = re.match(r"\[+\s*baseline\b", line.strip()) is not None
            if not inside:
                kept.append(line)
        head = "\n".join(kept).rstrip() + "\n\n"
    return head + "\n".join(_baseline_lines(runs, tolerance, least)) + "\n"
