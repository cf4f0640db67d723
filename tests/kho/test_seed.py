"""The trees of the first KHO patches: of all three versions, and made ones."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fdt_writer import Tree, text, write_fdt
from tests.support.machine_trees import old_machine
from tests.support.memory.dead_kernels import PageMemory, load, words
from tracekit.cli import main
from tracekit.errors import Diagnostic, ParseError
from tracekit.kho.seed import fingerprint, parse_seed
from tracekit.kho.seed_items import seed_item


@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
def test_the_trees_of_the_patches(version: str, capture: Callable[[str], Path]) -> None:
    seed = parse_seed((capture("seed-kho") / f"{version}.fdt").read_bytes(), version)
    assert seed is not None
    assert seed.version == version
    (array,) = seed.arrays
    assert array.name == ""
    assert [(cpu.cpu, cpu.subbuf_size, len(cpu.pages)) for cpu in array.cpus] == [
        (0, 4096, 258), (1, 4096, 258),
    ]  # fmt: skip
    if version == "v1":
        assert seed.names["sched_switch"] > 0
        assert not seed.types
    else:
        assert seed.types[0x3D4A3C19] == (seed.types[0x3D4A3C19][0],)  # sched_switch of 7.2.13
        assert set(range(1, 20)) <= seed.fixed


def test_pages_in_order_of_time(capture: Callable[[str], Path]) -> None:
    seed = parse_seed((capture("seed-kho") / "v3.fdt").read_bytes(), "v3")
    assert seed is not None
    memory, _ = load(capture("seed-kho") / "core")
    missing: list[str] = []
    for cpu in seed.arrays[0].cpus:
        pages = list(cpu.read(memory, missing.append))
        stamps = [struct.unpack_from("<Q", page)[0] for page in pages]
        assert len(pages) == 258
        assert stamps == sorted(stamps)
    assert not missing


def test_the_fingerprint() -> None:
    # sched_switch of Linux 7.2.13: prev_comm, prev_pid, prev_prio, prev_state, next_...
    assert fingerprint("sched_switch", [16, 4, 4, 8, 16, 4, 4]) == 0x3D4A3C19


def page(stamp: int, used: int, fill: int = 1) -> bytes:
    return (words(stamp, used) + bytes([fill]) * used).ljust(4096, b"\0")


def cpu_node(name: str, number: int, mem: bytes) -> Tree:
    return Tree(
        name,
        {"compatible": text("ftrace,cpu-v1"), "cpu": struct.pack("<i", number), "mem": mem},
    )


def tree(*cpus: Tree, array: str = "global-trace", events: bytes = b"") -> bytes:
    node = Tree(array, {"compatible": text("ftrace,array-v1")}, list(cpus))
    ftrace = Tree("ftrace", {"compatible": text("ftrace-v1"), "events": events}, [node])
    return write_fdt(Tree("", {"compatible": text("kho-v1")}, [ftrace]))


def made_ring(flags: list[int]) -> tuple[bytes, PageMemory]:
    """Four pages; the flags are those of each description's pointer to the next."""
    memory, mem = PageMemory({}), b""
    for number, (stamp, flag) in enumerate(zip([300, 400, 100, 200], flags, strict=True)):
        description, data = 0x1000 + 0x40 * number, 0x10000 + 0x1000 * number
        following = 0x1000 + 0x40 * ((number + 1) % 4)
        memory.poke(description, words(following | flag, 0, 64 | 3 << 20, 0, 2))
        memory.pages[data] = page(stamp, 64, number)
        mem += words(description, 0x40, data, 4096)
    return mem, memory


@pytest.mark.parametrize("flags", [[0, 1, 0, 0], [0, 2, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0]])
def test_the_head_is_found_by_flag_or_by_time(flags: list[int]) -> None:
    mem, memory = made_ring(flags)
    seed = parse_seed(tree(cpu_node("cpu0", 0, mem)), "made")
    assert seed is not None
    pages = list(seed.arrays[0].cpus[0].read(memory, pytest.fail))
    assert [struct.unpack_from("<Q", page)[0] for page in pages] == [100, 200, 300, 400]


def test_empty_pages_are_left_out_and_missing_ones_told_of() -> None:
    mem, memory = made_ring([0, 1, 0, 0])
    memory.poke(0x1000 + 16, words(5 << 20, 0, 0))  # nothing was written into the first
    del memory.pages[0x12000]
    seed = parse_seed(tree(cpu_node("cpu0", 0, mem)), "made")
    assert seed is not None
    missing: list[str] = []
    pages = list(seed.arrays[0].cpus[0].read(memory, missing.append))
    assert [struct.unpack_from("<Q", page)[0] for page in pages] == [200, 400]
    assert missing == ["0x12000 is not there"]


@pytest.mark.parametrize(
    ("node", "says"),
    [
        (cpu_node("cpu0", 0, b"x" * 31), "31 bytes of mem"),
        (cpu_node("cpu0", -1, b""), "cpu -1"),
        (cpu_node("cpu0", 0, words(1, 0x38, 2, 4096, 3, 0x38, 4, 8192)), "4096, 8192"),
        (cpu_node("cpu0", 0, words(1, 0x50, 2, 4096)), "no struct buffer_page that this knows"),
        (Tree("cpu0", {"compatible": text("ftrace,cpu-v1")}), "cpu has 0 bytes"),
    ],
)  # fmt: skip
def test_a_damaged_cpu_leaves_the_others(node: Tree, says: str) -> None:
    remarks: list[Diagnostic] = []
    mem, _ = made_ring([0, 1, 0, 0])
    seed = parse_seed(tree(node, cpu_node("cpu1", 1, mem)), "made", remarks.append)
    assert seed is not None
    assert [cpu.cpu for cpu in seed.arrays[0].cpus] == [1]
    (remark,) = remarks
    assert says in remark.message


def test_other_trees() -> None:
    assert parse_seed(write_fdt(Tree("", {"compatible": text("kho-v1")})), "made") is None
    other = Tree("", {"compatible": text("kho-v2")}, [Tree("ftrace", {"compatible": text("x")})])
    assert parse_seed(write_fdt(other), "made") is None
    with pytest.raises(ParseError):
        parse_seed(b"not a tree", "made")


def test_fixed_types_may_be_counted_from_zero() -> None:
    pairs = b"".join(struct.pack("<Ii", n, n) for n in range(20))
    pairs += struct.pack("<IiIi", 5, 5, 0x3D4A3C19, 300)
    seed = parse_seed(tree(events=pairs), "made")
    assert seed is not None
    assert seed.fixed == frozenset(range(20))
    assert seed.types == {0x3D4A3C19: (300,)}


@given(st.binary(max_size=200), st.binary(max_size=64))
def test_rubbish(mem: bytes, events: bytes) -> None:
    remarks: list[Diagnostic] = []
    seed = parse_seed(tree(cpu_node("cpu0", 0, mem), events=events), "made", remarks.append)
    assert seed is not None
    for cpu in seed.arrays[0].cpus:
        assert list(cpu.read(PageMemory({}), lambda _: None)) == []


@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
def test_what_is_shown_of_a_tree(
    version: str, capture: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a machine, and of a session that one left."""
    data = (capture("seed-kho") / f"{version}.fdt").read_bytes()
    shown = seed_item("tree", data)
    assert shown.value == f"ftrace-v1, as in the patches {version}" and not shown.amiss
    array, events = shown.children
    assert (array.label, array.value) == ("global buffer", "2 CPUs, 2.016 MiB")
    assert [cpu.value for cpu in array.children] == ["258 pages of 4 KiB"] * 2
    assert ("name alone" in events.value) is (version == "v1")
    root = replace(old_machine(), kho=None, files={"sys/firmware/kho/dt": data})
    tree = str(root.write(tmp_path / "root"))
    assert main(["kho", "--sysroot", tree]) == 0
    on_machine = capsys.readouterr().out
    assert f"what came from the kernel before  ftrace-v1, as in the patches {version}" in on_machine
    assert main(["-q", "snapshot", "--sysroot", tree, "-o", str(tmp_path / "S")]) == 0
    assert main(["kho", str(tmp_path / "S"), "--json"]) == 0
    assert '"global buffer"' in capsys.readouterr().out


@given(st.binary(max_size=300))
def test_anything_can_be_shown(data: bytes) -> None:
    assert seed_item("tree", data).label == "tree"
