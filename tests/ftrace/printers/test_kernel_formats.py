"""Print formats of every kind, made for this, as a real kernel prints random records (see data/).

The module that has them is in the archive, below ``source``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.ring.simple_decoder import events
from tests.support.text_records import printed
from tests.support.unpack import unpack
from tracekit.ftrace.context import Context
from tracekit.ftrace.format import parse_format
from tracekit.ftrace.printers.render import Renderer, make_renderer
from tracekit.ftrace.symbols import Symbols

PAGE = 4096
LINE = re.compile(r"^ +\S+-\d+ +\[\d+\] \S+ +\d+\.\d+: ", re.M)
#: What no record tells, as it is on both sides; docs/fidelity.md.
UNKNOWN: dict[str, Callable[[str], str]] = {
    # names of gfp flags, of this kernel build
    "tk_values": lambda line: re.sub(r"(?<=\w{16}\|).*\|(?=.{4} \w+-endian)", "", line),
    # this kernel prints the last mask that it prepares in the place of each
    "tk_masks": lambda line: line.partition("|")[2],
    # CONFIG_SYMBOLIC_ERRNAME is off
    "tk_errptr": lambda line: re.sub(r": \S+ \S+", ": errors", line),
}
EVENTS, COMPILED = 45, 37


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    base = tmp_path_factory.mktemp("kernel-formats")
    unpack(Path(__file__).parent / "data/kernel-formats-7.2.tar.zst", base)
    return base


@pytest.fixture(scope="module")
def ctx(place: Path) -> Context:
    return Context(
        Symbols.from_kallsyms((place / "kallsyms").read_text(), (place / "modules").read_text()),
        options=frozenset((place / "trace_options").read_text().split()),
        release=(place / "release").read_text().strip(),
        jiffies_hz=250,
    )


def _records(place: Path) -> list[bytes]:
    found = []
    for path in sorted(place.glob("raw?")):
        raw = path.read_bytes()
        for at in range(0, len(raw), PAGE):
            found += [(ts, path.name, payload) for ts, payload in events(raw[at : at + PAGE])]
    return [payload for _, _, payload in sorted(found)]


def _read(place: Path, ctx: Context) -> tuple[Renderer, list[bytes], list[str]]:
    """An event's printer, its records, and the kernel's lines."""
    fmt = parse_format((place / "format").read_text(), "tkfmt", place.name)
    with (place / "trace").open(errors="backslashreplace", newline="\n") as file:
        lines = LINE.split(file.read())[1:]
    return make_renderer(fmt, ctx), _records(place), lines


def test_line_for_line(place: Path, ctx: Context) -> None:
    found = sorted(place.glob("tk_*"))
    assert len(found) == EVENTS
    for event in found:
        renderer, records, lines = _read(event, ctx)
        alike = UNKNOWN.get(event.name, str)
        ours = [f"{renderer.prefix}{renderer.render(r)}{renderer.suffix}\n" for r in records]
        assert [alike(line) for line in ours] == [alike(line) for line in lines], event.name
        assert len(records) == 60
        if event.name not in UNKNOWN:
            assert "(?" not in "".join(ours)


def test_programs_print_the_same(place: Path, ctx: Context) -> None:
    done = {}
    for event in sorted(place.glob("tk_*")):
        renderer, records, _ = _read(event, ctx)
        done[event.name] = printed(renderer, records)
    assert sum(map(bool, done.values())) >= COMPILED, done
