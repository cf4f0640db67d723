"""Carve-outs: what command lines and /proc/iomem say of them, and recovering one."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.machine_trees import (
    NEW_TEXT,
    OLD_TEXT,
    REGION,
    TKA,
    Machine,
    new_machine,
    old_machine,
)
from tests.support.sessions.handed_over import ring
from tracekit.capture.recover.recover import RecoverResult, recover
from tracekit.capture.save.snapshot import snapshot
from tracekit.carriers.carve_out import covering, halves, region_name
from tracekit.carriers.choice import choose, for_jump, verdicts
from tracekit.carriers.machine import Machine as Facts
from tracekit.errors import NothingToRecover, UsageError
from tracekit.parameters import parse_cmdline
from tracekit.sysroot import Sysroot

A, B = 0x70000000, 0x70000000 + REGION
CARVED = f"memmap={2 * REGION:#x}${A:#x}"
IOMEM = (
    "00001000-0009fbff : System RAM\n"
    f"00100000-{A - 1:08x} : System RAM\n"
    "  60000000-6fffffff : Crash kernel\n"
    f"{A:08x}-{A + 2 * REGION - 1:08x} : Reserved\n"
    "71000000-7ffdbfff : System RAM\n"
)
ALL_RAM = "00100000-7ffdbfff : System RAM\n"


def before(cmdline: str = f"{CARVED} trace_instance=tk^traceoff@{A:#x}:64K") -> Machine:
    return replace(old_machine(), cmdline=cmdline)


def after(
    device: dict[int, bytes],
    cmdline: str = f"{CARVED} trace_instance=tk^traceoff@{B:#x}:64K",
    iomem: str = IOMEM,
) -> Machine:
    files = {"proc/iomem": iomem.encode()}
    return replace(new_machine(), cmdline=cmdline, device=device, files=files, kho=None, regions={})


def run(tmp_path: Path, new: Machine, old: Machine | None = None) -> RecoverResult:
    snapshot(Sysroot((old or before()).write(tmp_path / "old")), tmp_path / "S")
    return recover(Sysroot(new.write(tmp_path / "new")), tmp_path / "S")


def codes(result: RecoverResult) -> list[str]:
    return [d.code for d in result.diagnostics]


# -- what command lines say -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cmdline", "expected"),
    [
        ("memmap=16M$0x70000000", []),  # nothing says that it is for tracing
        (
            "memmap=16M$0x70000000 trace_instance=tk@0x70000000:8M",
            [(0x70000000, 8 << 20), (0x70800000, 8 << 20)],
        ),
        (
            "memmap=8M$0x70000000 memmap=8M$0x70800000 trace_instance=tk^traceoff@0x70800000:8M",
            [(0x70000000, 8 << 20), (0x70800000, 8 << 20)],
        ),
        (
            "memmap=12M$0x70000000,1M$0x10000000 trace_instance=tk@0x70000000:8M",
            [(0x70000000, 8 << 20), (0x70800000, 4 << 20)],
        ),
        ("memmap=16M$0x70000000 trace_instance=tk@0x60000000:8M", []),
        ("memmap=16M!0x70000000 trace_instance=tk@0x70000000:8M", []),
    ],
)
def test_halves(cmdline: str, expected: list[tuple[int, int]]) -> None:
    assert list(halves(parse_cmdline(cmdline))) == expected


@given(st.lists(st.tuples(st.integers(0, 1 << 66), st.integers(0, 1 << 66)), max_size=4), st.data())
def test_halves_lie_in_the_carve_outs(carved: list[tuple[int, int]], data: st.DataObject) -> None:
    words = [f"memmap={size}${start:#x}" for start, size in carved]
    for number, (start, size) in enumerate(carved):
        inside = data.draw(st.integers(0, max(size, 1)))
        words.append(f"trace_instance=i{number}@{start + inside:#x}:{max(size // 3, 1)}")
    command = parse_cmdline(" ".join(words))
    pieces = list(halves(command))
    assert len(pieces) < 64 * 6
    for address, size in pieces:
        assert any(a <= address and address + size <= max(b + n for b, n in command.carved)
                   for a, _ in command.carved)  # fmt: skip


def test_covering() -> None:
    assert covering(IOMEM, A, REGION) == ["Reserved"]
    assert covering(IOMEM, 0x6FFFF000, REGION) == ["System RAM", "Crash kernel", "Reserved"]
    assert covering(IOMEM, 0x90000000, REGION) == []
    assert covering("00000000-00000000 : System RAM\n", 0, 64) == []


# -- recovering -------------------------------------------------------------------------------


def test_recovered_without_an_argument(tmp_path: Path) -> None:
    result = run(tmp_path, after({A: ring(OLD_TEXT, 3, 4), B: ring(0, 0, 0)}))
    assert [(r.name, r.boot, r.carrier) for r in result.regions] == [
        (region_name(A), 0, "mem"),
        (region_name(B), 1, "mem"),
    ]
    assert codes(result) == []


def test_the_other_half_is_of_another_session(tmp_path: Path) -> None:
    """The kernel before last recorded there: not this session's, whose own record is here."""
    older = 0xFFFFFFFF85000000
    result = run(tmp_path, after({A: ring(OLD_TEXT, 3, 4), B: ring(older, 2, 2)}))
    assert [(r.name, r.boot) for r in result.regions] == [(region_name(A), 0)]
    assert codes(result) == ["region-of-another-session"]
    assert not (tmp_path / "S/incoming").exists()


def test_a_crash_kernel_reads_it_too(tmp_path: Path) -> None:
    """Its command line names neither the carve-out nor an instance; the session does."""
    new = after({A: ring(OLD_TEXT, 3, 4)}, "elfcorehdr=0x60000000 nr_cpus=1")
    result = run(tmp_path, new)
    assert (region_name(A), 0) in [(r.name, r.boot) for r in result.regions]
    assert "crash-kernel" in codes(result)


def test_memmap_was_forgotten(tmp_path: Path) -> None:
    """System RAM again: /dev/mem refuses, kcore reads it, and it is said loudly."""
    new = after({}, "quiet", ALL_RAM)
    new = replace(new, regions={A: ring(OLD_TEXT, 3, 4)})
    result = run(tmp_path, new)
    assert next((r.name, r.boot, r.carrier) for r in result.regions) == (region_name(A), 0, "kcore")
    assert "carve-out-lost" in codes(result)


def test_somebody_else_has_it(tmp_path: Path) -> None:
    new = after({A: ring(OLD_TEXT, 3, 4)}, iomem=IOMEM.replace("Reserved", "PCI Bus 0000:00"))
    with pytest.raises(NothingToRecover, match="belong to somebody else"):
        run(tmp_path, new)


def test_nothing_in_it(tmp_path: Path) -> None:
    """Cleared by the firmware."""
    with pytest.raises(NothingToRecover, match="zeros"):
        run(tmp_path, after({A: bytes(REGION), B: bytes(REGION)}))


def test_a_copy_of_the_device_that_is_cut_off(tmp_path: Path) -> None:
    """What is there of it is decoded; nothing is read behind the end of the file."""
    whole = ring(OLD_TEXT, 3, 4)
    result = run(tmp_path, after({A: whole[: REGION // 2]}))
    (region,) = [r for r in result.regions if r.boot == 0]
    assert region.unread == ((REGION // 2, REGION // 2),)


def test_a_device_that_is_a_pipe_is_refused(tmp_path: Path) -> None:
    new = after({}).write(tmp_path / "new")
    (new / "dev").mkdir()
    os.mkfifo(new / "dev/mem")
    snapshot(Sysroot(before().write(tmp_path / "old")), tmp_path / "S")
    with pytest.raises(NothingToRecover, match="not a regular file"):
        recover(Sysroot(new), tmp_path / "S")


# -- the choice -------------------------------------------------------------------------------


def facts(tmp_path: Path, machine: Machine) -> Facts:
    return Facts(Sysroot(machine.write(tmp_path / "tree")))


def test_a_carve_out_in_use(tmp_path: Path) -> None:
    machine = facts(tmp_path, replace(before(), files={"proc/iomem": IOMEM.encode()}))
    states = {v.carrier: v.state for v in verdicts(machine)}
    assert states["carveout"] == "in use"
    assert choose(machine).carrier == "carveout"


def test_a_carve_out_that_is_system_ram(tmp_path: Path) -> None:
    """A lost ``$``: the address is on the command line and nothing keeps it."""
    lost = before(f"memmap=128K trace_instance=tk@{A:#x}:64K")
    machine = facts(tmp_path, replace(lost, files={"proc/iomem": ALL_RAM.encode()}))
    (verdict,) = [v for v in verdicts(machine) if v.carrier == "carveout"]
    assert verdict.state == "possible" and "memmap=64K$0x70000000" in verdict.remedy
    with pytest.raises(UsageError, match=r"would not survive the jump: .* nothing keeps it"):
        for_jump(machine, machine.command.instances[0])


def test_kho_where_it_is_in_use(tmp_path: Path) -> None:
    machine = facts(tmp_path, replace(new_machine(), regions={TKA: ring(NEW_TEXT, 1)}))
    assert choose(machine).carrier == "kho"


def test_reserved_memory_without_kho_is_luck(tmp_path: Path) -> None:
    config = {"boot/config-7.2.13": b"# CONFIG_KEXEC_HANDOVER is not set\nCONFIG_TRACING=y\n"}
    machine = facts(tmp_path, replace(old_machine(), files=config))
    states = {v.carrier: v.state for v in verdicts(machine)}
    assert (states["kho"], states["luck"], states["carveout"]) == ("no", "in use", "possible")
    assert choose(machine).carrier == "carveout"
    with pytest.raises(UsageError, match=r"would not survive the jump.*--force"):
        for_jump(machine, machine.command.instances[0])


def test_what_survives_a_jump(tmp_path: Path) -> None:
    machine = facts(tmp_path, replace(before(), files={"proc/iomem": IOMEM.encode()}))
    mine = machine.command.instances[0]
    assert for_jump(machine, mine).state == "in use"
    assert for_jump(machine, mine, "carveout").carrier == "carveout"
    with pytest.raises(UsageError, match=r"lies on 0x70000000, and so on the carrier carveout"):
        for_jump(machine, mine, "kho")


def test_whether_kho_is_there_may_not_be_seen(tmp_path: Path) -> None:
    """kho=on alone proves nothing: a kernel without KHO ignores it, and logs rotate."""
    machine = facts(tmp_path, old_machine())
    assert machine.command.kho is True
    assert for_jump(machine, machine.command.instances[0]).state == "unknown"


def test_in_the_crash_kernels_memory(tmp_path: Path) -> None:
    iomem = f"{ALL_RAM}  {A:08x}-{A + REGION:08x} : Crash kernel\n".encode()
    machine = facts(tmp_path, replace(before(), files={"proc/iomem": iomem}))
    with pytest.raises(UsageError, match=r"inside the memory of the crash kernel.*tracekit setup"):
        for_jump(machine, machine.command.instances[0])
