"""Sessions out of dead kernels' memory: every array as the living kernel printed it."""

from __future__ import annotations

import io
import json
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

import tracekit
from tests.support.elf_core_writer import PT_NOTE, Segment, write_core
from tests.support.memory.dead_kernels import load
from tests.support.memory.kdump_writer import flattened, write_kdump
from tests.support.memory.timekeeper import filled
from tests.support.memory.trace_lines import lines
from tracekit.capture.recover.dead_kernel import read_dead_kernel
from tracekit.capture.recover.dump import DumpResult, read_dead, recover_dump
from tracekit.carriers.dumps.dump_file import open_dump
from tracekit.cli import main
from tracekit.errors import SourceError
from tracekit.kmemory.kernel import open_kernel
from tracekit.kmemory.lists import entries

TEXTS = [
    ("vmcore-7.2", "big", 12_771),
    ("vmcore-7.2", "used", 7_066),
    ("vmcore-7.2", "caught", 6),
    ("vmcore-7.2", "fresh", 5),
    ("vmcore-6.12", "used", 6_389),
    ("vmcore-6.12", "caught", 6),
]


@pytest.fixture(scope="module")
def recovered(
    capture: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], DumpResult]:
    """recovered(name) -> what recovering that capture's dump gave."""
    base = tmp_path_factory.mktemp("dumps")
    results: dict[str, DumpResult] = {}

    def recover(name: str) -> DumpResult:
        if name not in results:
            results[name] = recover_dump(str(capture(name) / "vmcore"), base / name)
        return results[name]

    return recover


@pytest.mark.parametrize(("name", "array", "count"), TEXTS)
def test_line_for_line(recovered, capture, capfdbinary, name, array, count) -> None:
    session = str(recovered(name).session)
    capfdbinary.readouterr()
    assert main(["events", session, "--instance", array, "--format", "kernel"]) == 0
    ours = lines(capfdbinary.readouterr().out.decode(errors="surrogateescape"))
    text = (capture(name) / f"text/{array}.trace").read_text(errors="surrogateescape")
    assert len(ours) == count
    assert ours == lines(text)


def test_every_array_has_its_own_page_size_and_clock(recovered, capture) -> None:
    result = recovered("vmcore-7.2")
    known = json.loads((capture("vmcore-7.2") / "arrays.json").read_text())["arrays"]
    assert (result.boot, result.formats, result.panic_cpu) == (0, 1324, 0)
    assert {a.name or "global": (a.clock, a.events) for a in result.arrays} == {
        name: (said["clock"], sum(cpu["entries_left"] for cpu in said["cpus"].values()))
        for name, said in known.items()
    }
    recording = tracekit.open(result.session)
    buffers = {b.instance: b for b in recording.buffers}
    assert {b.clock for b in buffers.values()} == {
        "local", "boot", "global", "mono", "x86-tsc",
    }  # fmt: skip
    assert {extent.size for extent in buffers["big"].extents} == {8192}
    assert {extent.size for extent in buffers["used"].extents} == {4096}
    assert len(buffers["big"]) == 12_771


def test_the_kernel_in_the_session(recovered) -> None:
    result = recovered("vmcore-7.2")
    boot = result.session / "boots/0"
    kernel = json.loads((boot / "kernel.json").read_text())
    assert (kernel["release"], kernel["cpus"], kernel["page_size"], kernel["machine"]) == (
        "7.2.13", 2, 4096, "x86_64",
    )  # fmt: skip
    assert "crashkernel=256M" in kernel["cmdline"]
    crash = json.loads((boot / "crash.json").read_text())
    assert (crash["panic_cpu"], crash["printk_offset_ns"]) == (0, -38_201_169)
    assert crash["crash_time_s"] == 1_795_844_868
    assert [entry["cpu"] for entry in crash["running"]] == [0, 1]
    assert "Kernel panic" in (boot / "dmesg").read_text()
    assert (boot / "tracefs/per_cpu/cpu0/stats").read_text().startswith("entries: 25755\n")


def test_the_panic_is_named(recovered) -> None:
    (remark,) = [d for d in recovered("vmcore-6.12").diagnostics if d.code == "panic"]
    assert remark.message.startswith("cpu 0 panicked, 26.")
    assert "sysrq triggered crash" in remark.message


def test_what_the_dump_lacks_is_said(recovered) -> None:
    """Its global buffer's pages were cut out: all are named and counted."""
    result = recovered("vmcore-7.2")
    found = {d.where: d for d in result.diagnostics if d.code == "dump-incomplete"}
    pages = found["boot 0 pages of trace buffers"].message
    assert pages.startswith("650 could not be read (cpu 0 at 0x")
    assert "is not in the dump" in pages
    assert any(d.code == "dump-level" and "-d 23" in d.message for d in result.diagnostics)
    report = tracekit.open(result.session).report()
    assert report is not None


@pytest.mark.slow
def test_a_snapshot_is_a_buffer_of_its_own(capture, tmp_path, capfdbinary) -> None:
    """The cut dump has none: an instance is given another one's buffer as its snapshot."""
    memory, note = load(capture("vmcore-6.12") / "vmcore")
    kernel = open_kernel(memory, note)
    head = kernel.symbol("ftrace_trace_arrays")
    arrays = {
        array.text("name"): array
        for array in entries(kernel, head, "trace_array", "list")
        if array["name"]
    }
    caught = arrays["caught"]["array_buffer.buffer"]
    used = arrays["used"]
    memory.poke(kernel.memory.physical(used.at("max_buffer.buffer")), struct.pack("<Q", caught))
    memory.poke(kernel.memory.physical(used.at("allocated_snapshot")), b"\1")
    dump = tmp_path / "dump"
    frames = {address >> 12: page for address, page in memory.pages.items()}
    dump.write_bytes(write_kdump(frames, vmcoreinfo=note))
    session = str(tmp_path / "session")
    recover_dump(str(dump), session)
    capfdbinary.readouterr()
    text = (capture("vmcore-6.12") / "text/caught.trace").read_text()
    wanted = ["events", session, "--format", "kernel", "--instance"]
    assert main([*wanted, "used snapshot"]) == 0
    marks = [line.split(": ", 1)[1] for line in lines(capfdbinary.readouterr().out.decode())]
    assert marks == [line.split(": ", 1)[1] for line in lines(text)]
    assert main([*wanted, "used"]) == 0
    assert len(lines(capfdbinary.readouterr().out.decode())) == 6_389


def test_the_same_boot_is_saved_again_in_its_place(recovered, capture, tmp_path) -> None:
    session = shutil.copytree(recovered("vmcore-6.12").session, tmp_path / "s")
    dump = str(capture("vmcore-7.2") / "vmcore")
    assert recover_dump(dump, session).boot == 1
    assert recover_dump(dump, session).boot == 1


@pytest.mark.slow
def test_the_same_dump_compressed_and_flattened(recovered, capture, tmp_path) -> None:
    memory, note = load(capture("vmcore-7.2") / "vmcore")
    frames = {address >> 12: page for address, page in memory.pages.items()}
    dump = tmp_path / "dump"
    dump.write_bytes(flattened(write_kdump(frames, vmcoreinfo=note)))
    result = recover_dump(str(dump), tmp_path / "session")
    assert result.arrays == recovered("vmcore-7.2").arrays


@pytest.mark.slow
def test_all_arrays_on_one_axis_by_the_clocks_parameters(capture, tmp_path) -> None:
    """Five clocks, no sample: what the kernel worked with relates them to some ns.

    The cut dump lacks timekeeping's variables; they are made, so the times are not the real ones.
    """
    memory, note = load(capture("vmcore-7.2") / "vmcore")
    made = filled(open_kernel(memory, note), memory)
    dump = tmp_path / "dump"
    frames = {address >> 12: page for address, page in made.memory.pages.items()}
    dump.write_bytes(write_kdump(frames, vmcoreinfo=note))
    result = recover_dump(str(dump), tmp_path / "session")
    samples = json.loads((tmp_path / "session/boots/0/clocks.json").read_text())["samples"]
    assert {s["clock"] for s in samples} == {
        "mono", "mono_raw", "boot", "tai", "realtime", "local", "perf", "global",
    }  # fmt: skip
    recording = tracekit.open(result.session)
    assert len(recording) == 12_771 + 7_066 + 6 + 5  # big, used, caught, fresh
    placed = {d.where: d.message for d in recording.diagnostics if d.code == "buffer-related"}
    assert len(placed) == 3  # the fourth's clock is that of the axis
    for message in placed.values():
        error = re.search(r"placed to ± (\d+) ns", message)
        assert error is not None and int(error[1]) < 1000


class Counted(io.FileIO):
    """A file that counts what is read of it."""

    bytes = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data: bytes = super().read(-1 if size is None else size)
        self.bytes += len(data)
        return data


@pytest.mark.slow
def test_a_sparse_dump_of_a_large_machine(recovered, capture, tmp_path) -> None:
    """64 GiB, 10 MB of which take room; the note is to be found in it, and no panic ends that.

    What is read of it does not depend on its size: the 10 MB, and what the kernel is made of.
    """
    memory, note = load(capture("vmcore-7.2") / "vmcore")
    text = note.split(b"CRASHTIME")[0]
    memory.poke(0x3D4018, text + b"\0")
    begin, size = 1 << 20, 64 << 30
    head = write_core([Segment(0, b"", memory=size)])
    header = struct.pack("<IIQQQQQQ", 1, 7, begin, 0, 0, size, size, 4096)
    dump = tmp_path / "dump"
    with dump.open("wb") as made:
        made.write(head[:64] + header)
        for address, page in memory.pages.items():
            made.seek(begin + address)
            made.write(page)
        made.truncate(begin + size)
    file = Counted(dump)
    with open_dump(file, str(dump)) as opened:
        read_dead(opened, str(dump))
        assert file.bytes < 64 << 20
    result = recover_dump(str(dump), tmp_path / "session")
    # what was cut out of it is zeros here
    whole = {array.name: array for array in recovered("vmcore-7.2").arrays}
    assert {a.name: (a.clock, a.events) for a in result.arrays} == {
        name: (array.clock, array.events) for name, array in whole.items()
    }
    pages = {array.name: array.pages for array in result.arrays}
    assert [pages[name] for name in ("big", "used")] == [whole[n].pages for n in ("big", "used")]


def test_what_is_no_kernels_memory(tmp_path) -> None:
    dump = tmp_path / "dump"
    dump.write_bytes(write_core([Segment(0x1000, bytes(8192))]))
    with pytest.raises(SourceError, match="no VMCOREINFO is in this memory"):
        recover_dump(str(dump), tmp_path / "session")
    assert not (tmp_path / "session").exists()
    with pytest.raises(SourceError, match="cannot be read: No such file"):
        recover_dump(str(tmp_path / "nothing"), tmp_path / "session")


def test_tasks_that_the_cpus_noted_when_they_stopped(lab_pids) -> None:
    """Their runqueues are not in the cut dump; the notes say who was on each CPU."""
    kernel, pids = lab_pids
    assert [r.task for r in read_dead_kernel(kernel).running] == [None, None]
    running = read_dead_kernel(kernel, (1, 0)).running
    assert [(r.task.pid, r.task.comm) for r in running if r.task] == [
        (1, "plain"),
        (0, "swapper/1"),
    ]
    assert [r.task for r in read_dead_kernel(kernel, (1,)).running] == [None, None]
    assert next(r.task for r in read_dead_kernel(kernel, (999_999, 1)).running) is None
    assert pids == ()  # the cut dump has no such notes


@pytest.fixture(scope="module")
def lab_pids(capture):
    memory, note = load(capture("vmcore-7.2") / "vmcore")
    with open_dump((capture("vmcore-7.2") / "vmcore").open("rb"), "dump") as dump:
        return open_kernel(memory, note), dump.current_pids


def test_the_note_of_an_elf_core() -> None:
    def note(name: bytes, content: bytes, kind: int = 0) -> bytes:
        head = struct.pack("<III", len(name), len(content), kind)
        return (
            head
            + name.ljust(-(-len(name) // 4) * 4, b"\0")
            + content.ljust(-(-len(content) // 4) * 4, b"\0")
        )

    notes = note(b"CORE\0", b"x" * 9) + note(b"VMCOREINFO\0", b"OSRELEASE=1\n")
    core = write_core([Segment(0, notes, PT_NOTE), Segment(0x1000, bytes(4096))])
    with open_dump(io.BytesIO(core), "core") as memory:
        assert memory.vmcoreinfo == b"OSRELEASE=1\n"
        assert memory.current_pids == ()
    status = bytes(32) + struct.pack("<i", 176) + bytes(300)
    notes += note(b"CORE\0", status, 1)
    core = write_core([Segment(0, notes, PT_NOTE), Segment(0x1000, bytes(4096))])
    with open_dump(io.BytesIO(core), "core") as memory:
        assert memory.current_pids == (176,)
    notes += note(b"QEMU\0", b"cpu state")  # which numbers CPUs there
    core = write_core([Segment(0, notes, PT_NOTE), Segment(0x1000, bytes(4096))])
    with open_dump(io.BytesIO(core), "core") as memory:
        assert memory.current_pids == ()
    core = write_core([Segment(0, notes[:30], PT_NOTE), Segment(0x1000, bytes(4096))])
    with open_dump(io.BytesIO(core), "core") as memory:
        assert memory.vmcoreinfo == b""
