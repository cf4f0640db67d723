"""Sessions of trace.dat files: what trace-cmd wrote of a buffer is what the region of it holds."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import re
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tracekit
from tests.support.sessions.trace_dat_writer import as_version_7, truncations
from tracekit.cli import main
from tracekit.errors import SourceError, TracekitError
from tracekit.trace_dat.compose import CpuPages, Section, compose
from tracekit.trace_dat.parse import blocks_of, parse, read_cpu
from tracekit.trace_dat.save import import_files

needs_trace_cmd = pytest.mark.skipif(not shutil.which("trace-cmd"), reason="trace-cmd is missing")
_LINE = re.compile(
    r"(?:[\w-]+:)?\s*(?P<task>\S.*)-(?P<pid>\d+)\s+\[(?P<cpu>\d+)\]\s+"
    r"(?P<ts>[\d.]+): (?P<name>\S+):"
)


def imported(file: Path, where: Path) -> Path:
    assert main(["-q", "import", str(file), "-o", str(where)]) == 0
    return where


def lines(session: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    capsys.readouterr()
    assert main(["events", str(session), "--format", "kernel"]) == 0
    return [line for line in capsys.readouterr().out.splitlines() if not line.startswith("#")]


def report(file: Path) -> list[str]:
    """What ``trace-cmd report`` prints of a file's events."""
    command = ["trace-cmd", "report", "-i", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, errors="replace")
    return [line for line in done.stdout.splitlines() if not line.startswith(("cpus=", "version"))]


@pytest.fixture(scope="module")
def trace_dat(capture: Callable[[str], Path]) -> Path:
    """What trace-cmd 3.4 extracted: version 7, zstd."""
    return capture("same-boot-7.2") / "old" / "trace.dat"


@pytest.mark.parametrize("name", ["same-boot-7.2", "same-boot-wide-7.2"])
def test_what_trace_cmd_extracted_is_what_the_region_holds(
    name: str,
    capture: Callable[[str], Path],
    session: Callable[[str], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = imported(capture(name) / "old" / "trace.dat", tmp_path / "s")
    assert lines(made, capsys) == lines(session(name), capsys)
    assert tracekit.open(made).report().verdict == "complete"


@needs_trace_cmd
def test_every_event_is_the_one_that_trace_cmd_shows(trace_dat: Path, tmp_path: Path) -> None:
    theirs = [found for line in report(trace_dat) if (found := _LINE.match(line))]
    recording = tracekit.open(imported(trace_dat, tmp_path / "s"))
    table = recording.timeline.select(["comm", "pid", "cpu", "ts_raw", "event"]).to_pylist()
    ours = [
        (
            row["pid"],
            row["cpu"],
            f"{round(row['ts_raw'], -3) // 10**9}.{(row['ts_raw'] + 500) // 1000 % 10**6:06d}",
            row["event"].partition(":")[2],
        )
        for row in table
    ]
    shown = [(int(f["pid"]), int(f["cpu"]), f["ts"], f["name"]) for f in theirs]
    assert len(ours) == len(shown) == 5018
    # equal stamps of two CPUs may be shown in another order
    assert sorted(ours) == sorted(shown)
    known = {(row["pid"], row["comm"]) for row in table if row["comm"]}
    assert {(int(f["pid"]), f["task"].strip()) for f in theirs if f["task"] != "<...>"} <= known


@needs_trace_cmd
def test_versions_and_compressions(
    trace_dat: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = lines(imported(trace_dat, tmp_path / "first"), capsys)
    old = tmp_path / "v6.dat"
    command = ["trace-cmd", "convert", "-i", trace_dat, "-o", old, "--file-version", "6"]
    subprocess.run(command, check=True, capture_output=True)
    assert old.read_bytes()[10:12] == b"6\0"
    assert lines(imported(old, tmp_path / "v6"), capsys) == expected
    for compression in ("none", "zlib", "zstd", "magicless"):
        file = tmp_path / f"{compression}.dat"
        file.write_bytes(as_version_7(old, compression))
        assert lines(imported(file, tmp_path / compression), capsys) == expected
        about = json.loads((tmp_path / compression / "boots/0/imported.json").read_text())
        assert about["version"] == 7


def test_every_command_works_on_it(trace_dat: Path, tmp_path: Path) -> None:
    made = str(imported(trace_dat, tmp_path / "s"))
    for words in (["report"], ["report", "--json"], ["events"], ["events", "--format", "json"],
                  ["export", "--format", "csv", "-o", str(tmp_path / "x.csv")]):  # fmt: skip
        assert main([words[0], made, *words[1:]]) == 0


def test_only_a_new_session_is_written(trace_dat: Path, tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "mine").write_text("precious")
    assert main(["import", str(trace_dat), "-o", str(tmp_path / "s")]) == 4
    assert (tmp_path / "s" / "mine").read_text() == "precious"
    assert main(["import", str(tmp_path / "absent.dat"), "-o", str(tmp_path / "t")]) == 3
    assert not (tmp_path / "t").exists()


def head(order: int = 0, longs: int = 8, version: bytes = b"6") -> bytes:
    return (
        b"\x17\x08\x44tracing" + version + b"\0" + bytes([order, longs]) + struct.pack("<I", 4096)
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no trace.dat of trace-cmd: it is empty"),
        (b"\x17\x08\x44tra", "truncated"),
        (b"something else", "does not begin with its magic"),
        (b"\x7fELF" + bytes(64), "an ELF file"),
        (b"PERFILE2" + bytes(64), "a perf.data"),
        (b"# tracer: nop\n#\n", "a tracer's text"),
        (b"\x1f\x8b\x08" + bytes(64), "compressed with gzip: unpack it first"),
        (b"\x28\xb5\x2f\xfd" + bytes(64), "compressed with zstd: unpack it first"),
        (head()[:10], "it is truncated"),
        (head(version=b"8"), "version '8'"),
        (head(order=1), "big-endian"),
        (head(longs=4), "32-bit"),
        (head(), "truncated"),
        (head(version=b"7") + b"lzma\x001\0" + bytes(8), "compressed with 'lzma'"),
        (head(version=b"7") + b"none\0\0" + struct.pack("<Q", 1 << 40), "ends at"),
    ],
)
def test_what_cannot_be_read_is_named(
    content: bytes, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "x.dat"
    file.write_bytes(content)
    assert main(["import", str(file), "-o", str(tmp_path / "s")]) == 3
    assert words in capsys.readouterr().err
    assert not (tmp_path / "s").exists()


@needs_trace_cmd
def test_sub_buffers_of_a_32_bit_kernel_are_refused(
    trace_dat: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The word for longs in the head is that of user space."""
    file = tmp_path / "x.dat"
    plain = as_version_7(trace_dat, "none")
    file.write_bytes(plain.replace(b"commit;\toffset:8;\tsize:8;", b"commit;\toffset:8;\tsize:4;"))
    assert main(["import", str(file), "-o", str(tmp_path / "s")]) == 3
    assert "32-bit kernel" in capsys.readouterr().err


def test_a_text_of_a_latency_tracer_is_named(tmp_path: Path) -> None:
    tables = b"header_page\0" + bytes(8) + b"header_event\0" + bytes(8) + bytes(4) + bytes(4)
    tables += (
        bytes(4) + bytes(4) + bytes(8) + struct.pack("<I", 1) + b"latency  \0# tracer: irqsoff"
    )
    file = tmp_path / "x.dat"
    file.write_bytes(head() + tables)
    with pytest.raises(SourceError, match="latency tracer"):
        import_files([file], str(tmp_path / "s"), lambda *_: pytest.fail("nothing is written"))


def test_truncated_files_are_errors_or_empty(trace_dat: Path, tmp_path: Path) -> None:
    plain = as_version_7(trace_dat, "none")
    for number, cut in enumerate([*truncations(plain, 9), *truncations(trace_dat.read_bytes(), 9)]):
        file = tmp_path / f"{number}.dat"
        file.write_bytes(cut)
        assert main(["-q", "import", str(file), "-o", str(tmp_path / str(number))]) == 3


@pytest.mark.parametrize("compression", ["none", "zlib"])
def test_names_lead_nowhere(compression: str, trace_dat: Path, tmp_path: Path) -> None:
    """A system or a buffer called as a path stays in the session."""
    plain = as_version_7(trace_dat, "none")
    for old, new in (
        (b"handover\0", b"../../ha\0"),
        (b"name: sched_switch", b"name: ../../../../x"),
    ):
        assert old in plain
        plain = plain.replace(old, new[: len(old)].ljust(len(old)))
    first = tmp_path / "hostile.dat"
    first.write_bytes(plain)
    file = tmp_path / "again.dat"
    file.write_bytes(as_version_7(first, compression))
    place = tmp_path / "in" / "side"
    place.mkdir(parents=True)
    assert main(["-q", "import", str(file), "-o", str(place / "s")]) == 0
    assert {p.name for p in tmp_path.iterdir()} == {"hostile.dat", "again.dat", "in"}
    assert [p.name for p in place.iterdir()] == ["s"]
    assert len(tracekit.open(place / "s")) == 5018


def test_a_bomb_is_refused(trace_dat: Path, tmp_path: Path) -> None:
    """A chunk that claims to unpack to more than any is not unpacked."""
    data = bytearray(as_version_7(trace_dat, "zlib"))
    place = data.index(b"\x78\x9c", data.rindex(b"\x78\x9c", 0, len(data) // 2)) - 4
    data[place : place + 4] = b"\xff\xff\xff\xff"
    file = tmp_path / "x.dat"
    file.write_bytes(bytes(data))
    assert main(["-q", "import", str(file), "-o", str(tmp_path / "s")]) == 3


@functools.cache
def small(trace_dat: Path) -> bytes:
    """Version 6 with the formats that are needed and no symbols: damage hits what matters."""
    with trace_dat.open("rb") as file:
        dat, stream = parse(file, "x")
        blocks = blocks_of(dat, stream)
        buffer = dat.buffers[-1]
        data = b"".join(read_cpu(dat, stream, blocks, buffer, buffer.cpus[0])[1])[:8192]
    dat.events = [e for e in dat.events if e.system in ("sched", "irq")]
    dat.kallsyms = b""
    out = io.BytesIO()
    pages = CpuPages(2, lambda: [data])
    compose(dat, [Section("", {0: pages}), Section("tk", {1: pages})], out, lambda n: None)
    return out.getvalue()


@settings(max_examples=30)
@given(damage=st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=8)), max_size=4))
def test_damage_raises_only_our_errors(
    damage: list[tuple[float, bytes]], trace_dat: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    base = tmp_path_factory.mktemp("damaged")
    data = bytearray(small(trace_dat))
    for place, patch in damage:
        at = int(place * (len(data) - len(patch)))
        data[at : at + len(patch)] = patch
    file = base / "x.dat"
    file.write_bytes(bytes(data))
    if main(["-q", "import", str(file), "-o", str(base / "s")]) == 0:
        with contextlib.suppress(TracekitError):
            len(tracekit.open(base / "s").timeline)
    assert {p.name for p in base.iterdir()} <= {"x.dat", "s"}
    shutil.rmtree(base)
