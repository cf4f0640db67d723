"""Sessions made to exhaust memory: an error, no traceback, less than a GiB.

The commands run in processes of their own, which tell the most memory they had.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import zstandard

from tests.support.session_trees import make_session, two_cpus
from tracekit.errors import TooLarge
from tracekit.session import Session
from tracekit.session.limits import Budget

RAW = "boots/0/regions/tkA.raw"
#: The most memory that this program itself had: rusage also counts that of who started it.
MOST = (
    "most = next(l for l in open('/proc/self/status') if l.startswith('VmHWM')).split()[1];"
    "print('most', most, file=sys.stderr);"
)
MEASURED = (
    f"import sys; from tracekit.cli import main; code = main(sys.argv[1:]); {MOST} sys.exit(code)"
)
OPENED = f"""
import resource, sys
from tracekit.browse.open import open_recording
from tracekit.errors import TooLarge
try:
    open_recording(sys.argv[1], lambda what, share: None)
except TooLarge as error:
    print(error, file=sys.stderr)
assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 1 << 20
{MOST}"""
GIB = 1 << 30


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_session(tmp_path_factory.mktemp("limits"), two_cpus())


@pytest.fixture
def hostile(made: Path, tmp_path: Path) -> Path:
    """A copy of a session, whose region is to be replaced."""
    copy = shutil.copytree(made, tmp_path / "session")
    for file in copy.glob(f"{RAW}*"):
        file.unlink()
    return copy


def run(*words: object, program: str = MEASURED) -> tuple[int, str]:
    """(exit code, what was said) of a command that took less than a GiB."""
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, words)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    said, _, most = done.stderr.rpartition("most ")
    assert "Traceback" not in done.stderr
    assert int(most) << 10 < GIB, f"{most} KiB"
    return done.returncode, said


def zeros(size: int, *, stated: bool = True) -> bytes:
    out = io.BytesIO()
    packer = zstandard.ZstdCompressor().stream_writer(
        out, size=size if stated else -1, closefd=False
    )
    for _ in range(size >> 20):
        packer.write(bytes(1 << 20))
    packer.close()
    return out.getvalue()


def sparse(path: Path, size: int, first: bytes = b"") -> None:
    path.write_bytes(first)
    os.truncate(path, size)


def frames(path: Path, *, stated: bool) -> None:
    """4 GiB, of which no frame tells more than its own part."""
    path.write_bytes(zeros(GIB // 4, stated=stated) * 16)


def gzipped(path: Path) -> None:
    with gzip.open(path, "wb", 1) as file:
        for _ in range(600):
            file.write(bytes(1 << 20))


def every_page_full(path: Path, region: bytes) -> None:
    """The region's one full page, over and over: events without end from a few kB."""
    page = next(
        region[at : at + 4096]
        for at in range(4096, len(region), 4096)
        if 3900 < int.from_bytes(region[at + 8 : at + 12], "little") <= 4080
    )
    (path / "boots/0/tracefs/per_cpu/cpu0").mkdir(parents=True)
    pipe = path / "boots/0/tracefs/per_cpu/cpu0/trace_pipe_raw.zst"
    pipe.write_bytes(zstandard.ZstdCompressor().compress(page * (100 << 8)))


TOO_LARGE: dict[str, Callable[[Path], object]] = {
    "420 kB that unpack to 4 GiB": lambda s: (s / f"{RAW}.zst").write_bytes(zeros(4 * GIB)),
    "frames": lambda s: frames(s / f"{RAW}.zst", stated=True),
    "frames of unknown size": lambda s: frames(s / f"{RAW}.zst", stated=False),
    "gzip": lambda s: gzipped(s / f"{RAW}.gz"),
    "60 GB of hole": lambda s: sparse(s / RAW, 60 * 10**9),
    "60 GB of hole, as if compressed": lambda s: sparse(
        s / f"{RAW}.zst", 60 * 10**9, zeros(1 << 20)
    ),
    "many regions": lambda s: [
        (s / f"boots/0/regions/r{i}.raw.zst").write_bytes(zeros(200 << 20)) for i in range(3)
    ],
    "a region and a pipe": lambda s: [
        (s / f"{RAW}.zst").write_bytes(zeros(300 << 20)),
        (s / "boots/0/tracefs/per_cpu/cpu0").mkdir(parents=True),
        (s / "boots/0/tracefs/per_cpu/cpu0/trace_pipe_raw.zst").write_bytes(zeros(300 << 20)),
    ],
    "probes' records": lambda s: (s / "boots/0/bpf.bin.zst").write_bytes(zeros(200 << 20)),
    "a page over and over": lambda s: every_page_full(s, two_cpus(5000).data),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", TOO_LARGE)
def test_a_session_made_to_exhaust_memory_is_refused(hostile: Path, kind: str) -> None:
    TOO_LARGE[kind](hostile)
    code, said = run("report", hostile)
    assert code == 4
    assert "bytes on disk" in said and "TRACEKIT_MAX_UNPACKED" in said
    assert len(said.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "command", ["events", "export --format parquet -o", "export --format csv -o"]
)
def test_every_command_refuses_it(hostile: Path, command: str, tmp_path: Path) -> None:
    sparse(hostile / RAW, 60 * 10**9)
    name, *options = command.split()
    words = [name, hostile, *options] + ([tmp_path / "out"] if options else [])
    code, said = run(*words)
    assert code == 4 and "bytes on disk" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_an_archive_is_no_way_around_it(hostile: Path, tmp_path: Path) -> None:
    """Zeros in the archive, and a region that unpacks to 4 GiB in one that does not."""
    sparse(hostile / RAW, 1 << 29)
    (hostile / RAW).rename(hostile / "boots/0/regions/tkB.raw")
    plain = tmp_path / "plain.tar.zst"
    with (
        plain.open("wb") as out,
        zstandard.ZstdCompressor().stream_writer(out) as packer,
        tarfile.open(fileobj=packer, mode="w|") as tar,
    ):
        tar.add(hostile, "session")
    code, said = run("report", plain)
    assert code == 4 and "bytes on disk" in said
    (hostile / "boots/0/regions/tkB.raw").unlink()
    (hostile / f"{RAW}.zst").write_bytes(zeros(4 * GIB))
    with tarfile.open(tmp_path / "nested.tar.gz", "w:gz") as tar:
        tar.add(hostile, "session")
    code, said = run("report", tmp_path / "nested.tar.gz")
    assert code == 4 and "bytes on disk" in said


REMARKED: dict[str, Callable[[Path], object]] = {
    "symbols": lambda s: (s / "boots/0/kallsyms.zst").write_bytes(
        zstandard.ZstdCompressor().compress(b"ffffffff81000000 T _stext\n" * (60 << 20 >> 5))
    ),
    "too many symbols": lambda s: (s / "boots/0/kallsyms.zst").write_bytes(zeros(255 << 20)),
    "kernel.json": lambda s: sparse(s / "boots/0/kernel.json", 60 * 10**9),
    "lists in a document": lambda s: (s / "boots/0/clocks.json").write_bytes(
        b'{"samples": [' + b"[]," * (7 << 20) + b"[]]}"
    ),
    "the log": lambda s: (s / "boots/0/dmesg").write_bytes(b"[    0.000000] \n" * (4 << 16)),
    "tasks": lambda s: (s / "boots/0/tracefs/saved_cmdlines").write_bytes(
        b"".join(b"%d a\n" % i for i in range(1 << 20))
    ),
}


HEAVY = ("lists in a document",)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", [pytest.param(k, marks=pytest.mark.slow) if k in HEAVY else k for k in REMARKED]
)
def test_a_large_file_is_read_or_remarked_on(made: Path, tmp_path: Path, kind: str) -> None:
    copy = shutil.copytree(made, tmp_path / "session")
    for name in ("kallsyms.zst", "kallsyms"):
        (copy / "boots/0" / name).unlink(missing_ok=True)
    REMARKED[kind](copy)
    code, _ = run("report", copy)
    assert code == 0


@pytest.mark.slow
def test_a_manifest_of_lists(hostile: Path) -> None:
    (hostile / "manifest.json").write_bytes(b'{"files": [' + b"[]," * (7 << 20) + b"[]]}")
    code, said = run("report", hostile)
    assert code == 4 and "manifest.json" in said
    sparse(hostile / "manifest.json", 60 * 10**9)
    code, said = run("report", hostile)
    assert code == 4 and "manifest.json" in said


def test_recover_does_not_read_what_nobody_wrote(made: Path, tmp_path: Path) -> None:
    """A session of holes that a killed run left: its files are listed anew."""
    copy = shutil.copytree(made, tmp_path / "session")
    document = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps({**document, "state": "writing"}))
    sparse(copy / "boots/0/regions/hole.raw", 60 * 10**9)
    tree = made.parent / "tree"
    code, _ = run("-q", "snapshot", "--sysroot", tree, "-o", copy)
    assert code == 0
    files = json.loads((copy / "manifest.json").read_text())["files"]
    assert f"{RAW}.zst" in files and "boots/0/regions/hole.raw" not in files


def test_a_tree_of_holes(tmp_path: Path, made: Path) -> None:
    tree = shutil.copytree(made.parent / "tree", tmp_path / "tree", symlinks=True)
    for name in ("proc/kallsyms", "proc/config.gz", "dmesg", "proc/cmdline"):
        (tree / name).unlink(missing_ok=True)
        sparse(tree / name, 60 * 10**9)
    pipe = tree / "sys/kernel/tracing/per_cpu/cpu0/trace_pipe_raw"
    pipe.parent.mkdir(parents=True)
    sparse(pipe, 60 * 10**9)
    code, said = run("snapshot", "--sysroot", tree, "-o", tmp_path / "session")
    assert code == 0 and "more than" in said
    wanted = f"tkA@0x7d600000:{4096:#x}"
    code, _ = run("-q", "recover", "--sysroot", tree, "--region", wanted, tmp_path / "session")
    assert code in (0, 3, 5)
    kept = sum(f.stat().st_blocks * 512 for f in (tmp_path / "session").rglob("*") if f.is_file())
    assert kept < 100 << 20


def test_what_was_recorded_is_never_refused() -> None:
    on_disk = 40 << 20
    budget = Budget("S", lambda: on_disk)
    for number in range(10):
        size = 200 << 20
        assert max(budget.rooms(f"r{number}", 4 * GIB)) >= size
        budget.unpacked(f"r{number}", size)
    budget.filled("all", 2000 << 20)
    with pytest.raises(TooLarge, match="41,943,040 bytes on disk"):
        budget.filled("more", 1000 << 20)


def test_the_user_may_allow_more(hostile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (hostile / f"{RAW}.zst").write_bytes(zeros(600 << 20))
    with pytest.raises(TooLarge):
        Session.open(hostile).read(RAW)
    monkeypatch.setenv("TRACEKIT_MAX_UNPACKED", "1g")
    assert len(Session.open(hostile).read(RAW)) == 600 << 20


@pytest.mark.slow
def test_many_files_are_as_one_large_one(made: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(made, tmp_path / "session")
    bomb = zeros(31 << 20)
    for number in range(20):
        event = copy / f"boots/0/tracefs/events/test/switch{number}"
        event.mkdir(parents=True)
        (event / "format.zst").write_bytes(bomb)
    code, said = run("report", copy)
    assert code == 4 and "bytes on disk" in said


@pytest.mark.slow
def test_the_interface_refuses_it_too(hostile: Path) -> None:
    """The process that builds an index, and this one."""
    (hostile / f"{RAW}.zst").write_bytes(zeros(4 * GIB))
    code, said = run(hostile, program=OPENED)
    assert code == 0 and "bytes on disk" in said
    assert not (hostile / "index").exists()


def test_files_are_counted_in_several_threads() -> None:
    """The same ones again and again: each counts once."""
    budget = Budget("S", lambda: 0)

    def read(_: int) -> None:
        for number in range(2000):
            assert next(budget.rooms(f"f{number}", 1 << 20)) == 1 << 20
            budget.unpacked(f"f{number}", 1 << 10)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(read, range(4)))
    assert next(budget.rooms("new", 1 << 40)) == (512 << 20) - (2000 << 10)
