"""What each CPU had begun and not ended."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

import tracekit
from tests.support.bpf_records import BootFiles, common, format_text, region, write_session
from tests.support.sessions.live import MS, START, a_device, report_of, way_out
from tests.support.sessions.ways import next_boot
from tracekit.report.unfinished import CpuUnfinished

_U64 = "u64 {};\toffset:8;\tsize:8;\tsigned:0;"
#: event -> (id, its one argument); the last two bytes of a system call's name do not matter
EVENTS: Mapping[str, tuple[int, str]] = {
    "initcall/initcall_start": (51, "func"), "initcall/initcall_finish": (52, "func"),
    "irq/softirq_entry": (53, "vec"), "irq/softirq_exit": (54, "vec"),
    "syscalls/sys_enter_write": (55, "fd"), "syscalls/sys_exit_write": (56, "ret"),
    "irq_vectors/local_timer_entry": (57, "vector"), "irq_vectors/local_timer_exit": (58, "vector"),
    "ftrace/funcgraph_entry": (59, "func"), "ftrace/funcgraph_exit": (60, "func"),
}  # fmt: skip
FILES: dict[str, str | bytes] = {
    f"tracefs/events/{name}/format": format_text(
        name.partition("/")[2], number,
        [_U64.format(field), "int depth;\toffset:16;\tsize:4;\tsigned:1;"], f'"%llu", REC->{field}',
    )
    for name, (number, field) in EVENTS.items()
}  # fmt: skip


def at(ms: int, event: str, value: int = 0, pid: int = 7, depth: int = 0) -> tuple[int, bytes]:
    raw = common(EVENTS[event][0], pid=pid) + struct.pack("<Qi", value, depth)
    return START + ms * MS, raw + bytes(-len(raw) % 4)


def left(
    tmp_path: Path, *cpus: Sequence[tuple[int, bytes]], enabled: str = ""
) -> tuple[CpuUnfinished, ...]:
    files = {**FILES, "tracefs/instances/tk/set_event": enabled}
    boots = [BootFiles(region(*cpus), files=files), next_boot(loader=0x72)]
    (jump,) = tracekit.open(write_session(tmp_path / "s", boots)).report().handovers
    return jump.unfinished


def names(cpu: CpuUnfinished) -> list[tuple[str, str]]:
    return [(one.what, one.event) for one in cpu.open]


def test_every_cpu_has_its_own(tmp_path: Path) -> None:
    """An initcall that never returned on CPU 0, a softirq in an interrupted one on CPU 1."""
    zero = [
        at(0, "initcall/initcall_start", 1, pid=1), at(1, "initcall/initcall_finish", 1, pid=1),
        at(2, "initcall/initcall_start", 2, pid=1), at(9, "irq/softirq_entry", 1),
        at(10, "irq/softirq_exit", 1),
    ]  # fmt: skip
    one = [
        at(3, "irq/softirq_entry", 7), at(4, "irq_vectors/local_timer_entry", 236),
        at(5, "irq_vectors/local_timer_exit", 236), at(6, "irq_vectors/local_timer_entry", 236),
    ]  # fmt: skip
    first, second = left(tmp_path, zero, one)
    assert names(first) == [("initcall", "initcall:initcall_start")]
    assert (first.open[0].args, first.open[0].pid, first.open[0].since_ns) == ("2", 1, -8 * MS)
    assert names(second) == [
        ("softirq", "irq:softirq_entry"), ("interrupt", "irq_vectors:local_timer_entry"),
    ]  # fmt: skip
    assert (second.cpu, second.last_ns) == (1, -4 * MS)


def test_the_system_call_of_the_task_that_runs(tmp_path: Path) -> None:
    """Others may wait in theirs for good reason."""
    events = [
        at(0, "syscalls/sys_enter_write", pid=8), at(1, "syscalls/sys_exit_write", pid=8),
        at(2, "syscalls/sys_enter_write", pid=9), at(3, "syscalls/sys_enter_write", pid=8),
    ]  # fmt: skip
    (cpu,) = left(tmp_path, events)
    assert names(cpu) == [("system call", "syscalls:sys_enter_write")]
    assert (cpu.pid, cpu.open[0].pid, cpu.open[0].since_ns) == (8, 8, 0)


@pytest.mark.parametrize(("enabled", "known"), [("", False), ("irq:softirq_exit\n", True)])
def test_an_end_that_is_not_recorded_is_not_missed(
    tmp_path: Path, enabled: str, known: bool
) -> None:
    (cpu,) = left(tmp_path, [at(0, "irq/softirq_entry", 1)], enabled=enabled)
    assert bool(cpu.open) == known


def test_functions_that_did_not_return(tmp_path: Path) -> None:
    enter, leave = "ftrace/funcgraph_entry", "ftrace/funcgraph_exit"
    events = [
        at(0, enter, 1, depth=0), at(1, enter, 2, depth=1), at(2, enter, 3, depth=2),
        at(3, leave, 3, depth=2), at(4, leave, 2, depth=1), at(5, enter, 4, depth=1),
    ]  # fmt: skip
    (cpu,) = left(tmp_path, events)
    assert [one.since_ns for one in cpu.open] == [-5 * MS, 0]


def test_a_device_that_never_shut_down(tmp_path: Path) -> None:
    begun = [e for e in way_out() if e[0] <= START + 8 * MS]
    report = report_of(tmp_path, [*begun, *a_device(3, START + 9 * MS, -1, "0000:00:1f.2", 0)])
    (jump,) = report.handovers
    (cpu,) = jump.unfinished
    last = cpu.open[-1]
    assert (last.event, last.what) == ("device:shutdown", "call") and "0000:00:1f.2" in last.args
    assert ("last step of the way down", "kexec:device_shutdown") in names(cpu)


@pytest.mark.parametrize(("reader", "told"), [("file", True), ("the boot itself", False)])
def test_a_record_out_of_a_file_has_no_kernel_after_it(
    tmp_path: Path, reader: str, told: bool
) -> None:
    kernel = {"release": "7.0.0", "known": True, "boot_id": "the boot itself", "cpus": 1,
              "page_size": 4096, "trace_instances": [{"name": "tk", "region": "tkA"}]}  # fmt: skip
    files = {
        **FILES, "kernel.json": json.dumps(kernel),
        "regions/tkA.json": json.dumps({"read_in": reader}),
    }  # fmt: skip
    events = [at(0, "initcall/initcall_start", 1), at(1, "initcall/initcall_finish", 1),
              at(2, "initcall/initcall_start", 2)]  # fmt: skip
    path = write_session(tmp_path / "s", [BootFiles(region(events), files=files)])
    ending = tracekit.open(path).report().ending
    assert (ending is not None) == told
    if ending is not None:
        assert ending.way.name == "not seen" and "no kernel after it" in ending.way.text
        assert names(ending.unfinished[0]) == [("initcall", "initcall:initcall_start")]


def test_a_kernel_that_left_as_it_should_has_no_such_list(tmp_path: Path) -> None:
    (jump,) = report_of(tmp_path, way_out()).handovers
    assert jump.unfinished == () and jump.way.usual
