# ruff: noqa: E402 - a script, which has to find the repository first
"""Fuzz the decoding of regions and of event formats: ``python tests/fuzz/fuzz_region.py``.

Every case is made from (seed, case number) alone, so a printed seed repeats a run. Cases run in a
second process; the first notices when it raises something undocumented, crashes, hangs or eats
memory, saves the input, says how to replay it and ends with exit code 1.

What is mutated: a small region whose pages are a real kernel's (of the capture same-boot-7.2),
regions from the test-side writer in every layout, and the ``format`` files of the same capture.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import mmap
import random
import resource
import secrets
import signal
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import zstandard

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.support.ring.region_strategies import LAYOUTS, Script, Step
from tests.support.ring.region_writer import RingBuffer, layout_615
from tracekit.errors import FormatError, ParseError
from tracekit.ftrace.columns import Payloads, typed_columns
from tracekit.ftrace.context import Context
from tracekit.ftrace.format import EventFormat, HeaderPage, parse_format
from tracekit.ftrace.printers.render import make_renderer
from tracekit.ftrace.ring.layout import parse_layout
from tracekit.ftrace.ring.page import RecordHeader, Records, read_pages

CAPTURE = ROOT / "tests/captures/same-boot-7.2.tar.zst"
HANG = 15.0  # seconds without a finished case
MEMORY = 4 << 30  # bytes of address space
RENDERED = 40  # records a case renders

U64 = NOT_BEGUN = (1 << 64) - 1
INTERESTING = (
    0, 1, 2, 3, 4, 7, 8, 12, 15, 16, 24, 28, 29, 30, 31, 32, 40, 56, 61, 62, 63, 127, 128, 255,
    4064, 4079, 4080, 4081, 4084, 4095, 4096, 4097, 8192, 65536, 0x2030, 0xFFFF, 0x0BADFEED,
    0x180020, 0x180028, 1 << 26, (1 << 27) - 1, 0x3FFF_FFFF, 1 << 30, (1 << 31) - 1, 1 << 31,
    (1 << 32) - 8, (1 << 32) - 4, (1 << 32) - 1, 1 << 32, 1 << 40, (1 << 59) - 1, 1 << 59,
    (1 << 63) - 1, 1 << 63, U64 - 7, U64,
)  # fmt: skip
WORDS = """
( ) (((( % %% , ; { } ? : -> << >> " [] [16] [0] [-1] [99999999999] %s %d %pS %*pbl %-16s %.*s
%999999999d \\n REC-> REC->common_pid (u8) -1 0x 0xffffffffffffffff 1ULL __get_str( sizeof(
__get_dynamic_array( __get_dynamic_array_len( __get_bitmask( __get_sockaddr( __print_flags(
__print_symbolic( __print_hex( __print_array( __print_hex_dump( __builtin_constant_p( field:
offset: size:0; size:65536; offset:65535; signed:1;
"""
PHRASES = """__data_loc |__rel_loc |char[] |u64[] |unsigned long |struct x *|(void *)|/ 0|% 0|<< 64|
|\t|\0|\u00e9|print fmt: |name: |ID: """
TOKENS = (*WORDS.split(), *PHRASES.split("|"))


@dataclass(frozen=True)
class Case:
    """One input: ``kind`` region or format; a format carries its system in the first line."""

    kind: str
    data: bytes


@cache
def capture() -> tuple[bytes, tuple[tuple[str, str], ...]]:
    """(the region tkA, (system, text) of every format) of the capture."""
    wanted: dict[str, bytes] = {}
    raw = zstandard.ZstdDecompressor().stream_reader(CAPTURE.open("rb"))
    with tarfile.open(fileobj=io.BufferedReader(raw), mode="r|") as tar:
        for member in tar:
            name = member.name.partition("/old/")[2]
            if name in {"proc/kcore", "regions.json"} or name.endswith("/format"):
                handle = tar.extractfile(member)
                wanted[name] = handle.read() if handle else b""
    core = wanted["proc/kcore"]
    address, size = json.loads(wanted["regions.json"])["tkA"]
    table, count = struct.unpack_from("<Q", core, 32)[0], struct.unpack_from("<H", core, 56)[0]
    for i in range(count):
        kind, _, at, _, start, length = struct.unpack_from("<IIQQQQ", core, table + 56 * i)
        if kind == 1 and start <= address < start + length:
            region = core[at + address - start :][:size]
    formats = tuple(
        (name.split("/")[-3], text.decode())
        for name, text in sorted(wanted.items())
        if name.endswith("/format")
    )
    return region, formats


@cache
def real_pages() -> tuple[bytes, ...]:
    """Sub-buffers with events, of both CPUs."""
    data = capture()[0]
    layout = parse_layout(data, "capture")
    pages = [data[at : at + cpu.subbuf_size] for cpu in layout.cpus for at in cpu.pages]
    return tuple(page for page in pages if page[8:16] != bytes(8))


@cache
def formats() -> dict[int, EventFormat]:
    """The capture's formats, by id."""
    found = [parse_format(text, system, system) for system, text in capture()[1]]
    return {each.id: each for each in found}


def real_region(rng: random.Random) -> bytes:
    """Real pages in a small region."""
    rings = []
    for _ in range(rng.randint(1, 4)):
        ring = RingBuffer(rng.choice([4, 6, 9]))
        count = rng.randint(1, ring.nr_subbufs - 1)
        for logical in range(1, count + 1):
            ring.pages[logical].memory[:] = rng.choice(real_pages())
        ring.commit = count
        rings.append(ring)
    sizes = {ring.nr_subbufs for ring in rings}
    return layout_615(rings if len(sizes) == 1 else rings[:1]).data


def random_script(rng: random.Random) -> Script:
    """A life of ring buffers, as region_scripts() makes them."""
    cpus, size = rng.randint(1, 4), rng.choice([4096, 4096, 8192, 16384])
    kinds = ["write", "burst", "discard", "nested", "dropped", "read", "reset"]
    steps = tuple(
        Step(
            rng.choices(kinds, [4, 4, 2, 2, 2, 3, 0.2])[0],  # type: ignore[arg-type]
            cpu=rng.randrange(cpus),
            gap=rng.choice([0, 1, 1000, 1 << 27, 1 << 40]),
            size=rng.choice([16, 27, 100, 112, 113, 200, size // 20, size // 3]),
            count=rng.randint(1, 5),
            at=rng.choice(["stamp", "reserve", "commit"]),
        )
        for _ in range(rng.randint(1, 25))
    )
    start = rng.choice([1, 1 << 40, (0xA8 << 56) + 5])
    return Script(cpus, rng.randint(3, 7), size, start, steps, unfinished=rng.random() < 0.3)


def spot(rng: random.Random, data: bytearray) -> int:
    """An offset; more often than not in a header."""
    where = rng.random()
    if where < 0.25:
        return rng.randrange(min(64, len(data)))
    if where < 0.5:
        return min(0x2030 + rng.randrange(64), len(data) - 1)
    if where < 0.85:  # metas, page headers and first events lie at multiples of 4096
        return min(rng.randrange(0, len(data), 4096) + rng.randrange(48), len(data) - 1)
    return rng.randrange(len(data))


def mutate(rng: random.Random, data: bytearray) -> None:
    """A few random changes, in place."""
    for _ in range(rng.choice([1, 1, 2, 3, 8, 30])):
        if not data:
            return
        at, what = spot(rng, data), rng.randrange(8)
        if what == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif what == 1:
            data[at] = rng.randrange(256)
        elif what in (2, 3):
            size = rng.choice([2, 4, 4, 8, 8])
            value = rng.choice(INTERESTING) + rng.choice([0, 0, 0, 1, -1])
            new = (value & (1 << 8 * size) - 1).to_bytes(size, "little")
            at -= at % size
            data[at : at + size] = new[: len(data) - at]
        elif what == 4:  # one place's bytes to another
            size = rng.choice([4, 8, 16, 64, 4096])
            source = spot(rng, data)
            new = bytes(data[source : source + size])
            data[at : at + len(new)] = new[: len(data) - at]
        elif what == 5:
            size = rng.choice([1, 8, 32, 4096])
            data[at : at + size] = bytes(min(size, len(data) - at))
        elif what == 6:
            size = rng.choice([1, 8, 100])
            data[at : at + size] = rng.randbytes(min(size, len(data) - at))
        elif rng.random() < 0.2:
            del data[rng.randrange(len(data)) :]


def mutate_text(rng: random.Random, text: str) -> str:
    """A few random changes to a format file."""
    for _ in range(rng.choice([1, 1, 2, 3, 6])):
        at = rng.randrange(len(text) + 1)
        lines, what = text.split("\n"), rng.randrange(7)
        if what == 0:
            text = text[:at] + rng.choice(TOKENS) + text[at:]
        elif what == 1:
            text = text[:at] + text[at + rng.choice([1, 1, 3, 10, 50]) :]
        elif what == 2:
            text = text[:at] + chr(rng.choice([rng.randrange(128), 0xE9, 0x1F600])) + text[at + 1 :]
        elif what == 3:
            lines.insert(rng.randrange(len(lines)), rng.choice(lines))
            text = "\n".join(lines)
        elif what == 4:
            del lines[rng.randrange(len(lines))]
            text = "\n".join(lines)
        elif what == 5:  # another number
            digits = [i for i, c in enumerate(text) if c.isdigit()]
            if digits:
                i = rng.choice(digits)
                text = text[:i] + str(rng.choice(INTERESTING)) + text[i + 1 :]
        else:  # a piece of it again, many times
            piece = text[at : at + rng.choice([1, 5, 30])]
            text = text[:at] + piece * rng.choice([2, 10, 300]) + text[at:]
    return text


def make_case(seed: int, number: int) -> Case:
    """Case ``number`` of a run."""
    rng = random.Random(f"{seed}/{number}")
    what = rng.random()
    if what < 0.35:
        system, text = rng.choice(capture()[1])
        return Case("format", f"{system}\n{mutate_text(rng, text)}".encode("utf-8", "replace"))
    if what < 0.6:
        data = bytearray(real_region(rng))
    else:
        layout = LAYOUTS[rng.choice(sorted(LAYOUTS))]
        data = bytearray(layout(random_script(rng).play()).data)
    mutate(rng, data)
    return Case("region", bytes(data))


def payloads_of(data: bytes, records: Records) -> Payloads:
    return Payloads(
        data, np.frombuffer(records.offset, np.uint64), np.frombuffer(records.length, np.uint32)
    )


def decode_with(fmt: EventFormat, payloads: Payloads) -> None:
    """Everything there is to be made of some records with a format."""
    for column in typed_columns(payloads, fmt).values():
        column.validate(full=True)
        assert len(column) == len(payloads)
    renderer = make_renderer(fmt, Context())
    for row in range(min(len(payloads), RENDERED)):
        assert isinstance(renderer.render(payloads.bytes_at(row)), str)


def run_region(data: bytes) -> None:
    """Decode a region to the end. Raises on anything undocumented."""
    try:
        layout = parse_layout(data, "fuzz")
    except ParseError:
        return
    for cpu in layout.cpus:
        assert len(set(cpu.pages)) == len(cpu.pages), "a page is read twice"
        records = read_pages(
            data, cpu.pages, cpu.subbuf_size, cpu.cpu, "fuzz", HeaderPage(), RecordHeader(),
            in_turn=True,
        )  # fmt: skip
        payloads = payloads_of(data, records)
        ends = payloads.offsets + payloads.lengths
        assert not len(ends) or int(ends.max()) <= len(data), "a record beyond the data"
        assert sum(page.events for page in records.pages()) == len(records)
        types = np.frombuffer(records.type, np.uint16)
        for event_id in np.unique(types)[:8]:
            fmt = formats().get(int(event_id)) or formats()[1]
            decode_with(fmt, payloads.take(types == event_id))


def run_format(data: bytes) -> None:
    """Parse a format and decode records with it, some of them far too short."""
    system, _, text = data.decode("utf-8", "replace").partition("\n")
    try:
        fmt = parse_format(text, system, "fuzz")
    except FormatError:
        return
    rng = random.Random(len(data))
    size = max((f.offset + f.size for f in fmt.fields), default=8)
    chunks = [rng.randbytes(n) for n in (8, 9, size // 2, max(8, size - 1), size, size + 40)]
    chunks += [bytes(size), b"\xff" * (size + 8)]
    starts = np.cumsum([0, *(len(chunk) for chunk in chunks)])[:-1]
    lengths = np.array([len(chunk) for chunk in chunks], np.uint32)
    decode_with(fmt, Payloads(b"".join(chunks), starts.astype(np.uint64), lengths))


RUNNERS: dict[str, Callable[[bytes], None]] = {"region": run_region, "format": run_format}


def work(seed: int, seconds: float, state: Path) -> int:
    """The second process: run cases until time is up, and note down which one is under way."""
    capture(), real_pages(), formats()
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.RLIM_INFINITY))
    deadline, number = time.monotonic() + seconds, 0
    with state.open("r+b") as file, mmap.mmap(file.fileno(), 8) as shared:
        while time.monotonic() < deadline:
            shared[:8] = struct.pack("<Q", number)
            case = make_case(seed, number)
            RUNNERS[case.kind](case.data)
            number += 1
        shared[:8] = struct.pack("<Q", number)
    return 0


def watch(seed: int, seconds: float) -> tuple[int, str]:
    """Have the cases run for so long: (the case reached, what is wrong with it or '')."""
    with tempfile.TemporaryDirectory() as scratch:
        state, said = Path(scratch) / "state", Path(scratch) / "stderr"
        state.write_bytes(struct.pack("<Q", NOT_BEGUN))
        command = [sys.executable, sys.argv[0], "--seed", str(seed), "--seconds", str(seconds)]
        with said.open("wb") as stderr:
            worker = subprocess.Popen([*command, "--work", str(state)], stderr=stderr)
        last, since, trouble = -1, time.monotonic(), ""
        while worker.poll() is None:
            (number,) = struct.unpack("<Q", state.read_bytes())
            if number != last or number == NOT_BEGUN:
                last, since = number, time.monotonic()
            elif time.monotonic() - since > HANG:
                worker.kill()
                worker.wait()
                trouble = f"no end after {HANG:.0f} s"
            time.sleep(0.05)
        if worker.returncode and not trouble:
            trouble = said.read_text(errors="replace").strip()
            if worker.returncode < 0:
                trouble = f"killed by {signal.Signals(-worker.returncode).name}\n{trouble}"
        return struct.unpack("<Q", state.read_bytes())[0], trouble


def replay(path: Path) -> int:
    """Run one saved input."""
    RUNNERS[path.suffix[1:]](path.read_bytes())
    print(f"{path}: nothing wrong")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (default 60)")
    parser.add_argument("--seed", type=int, help="repeat a run")
    parser.add_argument("--save", type=Path, default=Path(), help="where reproducers go")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run one saved input")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.replay:
        return replay(options.replay)
    seed = options.seed if options.seed is not None else secrets.randbits(32)
    if options.work:
        return work(seed, options.seconds, options.work)
    print(f"seed {seed}", flush=True)
    number, trouble = watch(seed, options.seconds)
    if not trouble:
        print(f"{number} cases, nothing wrong")
        return 0
    if number == NOT_BEGUN:
        print(f"the run did not begin: {trouble}")
        return 1
    case = make_case(seed, number)
    path = options.save / f"fuzz-{seed}-{number}.{case.kind}"
    path.write_bytes(case.data)
    print(f"case {number} of seed {seed}: {trouble}")
    print(f"saved; run it again with: {sys.executable} {sys.argv[0]} --replay {path}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
