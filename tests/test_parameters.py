"""Kernel command lines and --region."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.errors import UsageError
from tracekit.parameters import (
    FileRegion,
    MemoryFile,
    RegionSpec,
    ReserveMem,
    TraceInstance,
    memparse,
    parse_cmdline,
    parse_memory,
    parse_region,
    split_parameters,
)


def test_the_reference_command_lines() -> None:
    old = parse_cmdline(
        "console=ttyS0 loglevel=4 panic=-1 kho=on reserve_mem=4M:2M:tkA reserve_mem=4M:2M:tkB "
        "trace_instance=tk^traceoff@tkA\n"
    )
    assert old.instances == (TraceInstance("tk", ("traceoff",), "tkA"),)
    assert old.reserve_mem == (
        ReserveMem("tkA", 4 << 20, 2 << 20),
        ReserveMem("tkB", 4 << 20, 2 << 20),
    )
    assert old.kho is True
    assert old.trace_clock is None
    assert old.ignored == ()
    assert old.text.endswith("@tkA")
    new = parse_cmdline(
        "kho=on reserve_mem=4M:2M:tkA trace_instance=tk@tkB trace_clock=x86-tsc "
        "trace_event=initcall:*,sched:sched_process_exec"
    )
    assert new.trace_clock == "x86-tsc"
    assert new.trace_event == ("initcall:*", "sched:sched_process_exec")
    assert new.instance_of("tkB") == TraceInstance("tk", (), "tkB")
    assert new.instance_of("tkA") is None


@pytest.mark.parametrize(
    ("value", "instance"),
    [
        ("foo", TraceInstance("foo")),
        ("foo,sched,irq", TraceInstance("foo", events=("sched", "irq"))),
        (
            "foo^traceoff^traceprintk,sched:sched_switch",
            TraceInstance("foo", ("traceoff", "traceprintk"), events=("sched:sched_switch",)),
        ),
        (
            "boot_map@0x284500000:12M",
            TraceInstance("boot_map", address=0x284500000, size=12 << 20),
        ),
        ("t^traceoff@0x70000000:4M", TraceInstance("t", ("traceoff",), None, 0x70000000, 4 << 20)),
        ("t@tkA^traceoff", TraceInstance("t", ("traceoff",), "tkA")),
        ("t@tkA,,a,", TraceInstance("t", (), "tkA", events=("a",))),
        ("t^nonsense@tkA", TraceInstance("t", ("nonsense",), "tkA")),
        ("copy=foo", TraceInstance("copy", backup="foo")),
    ],
)
def test_trace_instance(value: str, instance: TraceInstance) -> None:
    found = parse_cmdline(f"trace_instance={value}")
    assert found.instances == (instance,)
    assert found.ignored == ()


@pytest.mark.parametrize(
    "value",
    ["", "@tkA", "t@", "t@0x0:4M", "t@0x1000", "t@0x1000:", "t@0x1000:0", "t@1@2", "t@1:4Mx"],
)
def test_trace_instances_the_kernel_would_not_make(value: str) -> None:
    found = parse_cmdline(f"trace_instance={value}")
    assert found.instances == ()
    assert found.ignored == (f"trace_instance={value}",)


def test_instances_are_found_by_address_too() -> None:
    command = parse_cmdline("trace_instance=t@0x1000:4K")
    assert command.instance_of("anything", 0x1000) == command.instances[0]
    assert command.instance_of("anything", 0x2000) is None
    assert parse_cmdline("trace_instance=t").instance_of("x") is None


@pytest.mark.parametrize(
    ("value", "memory"),
    [
        ("12M:4096:oops", ReserveMem("oops", 12 << 20, 4096)),
        ("0x1000:0:a", ReserveMem("a", 4096, 0)),
        ("1G::x", ReserveMem("x", 1 << 30, 0)),
        ("1k:1:" + "a" * 15, ReserveMem("a" * 15, 1024, 1)),
    ],
)
def test_reserve_mem(value: str, memory: ReserveMem) -> None:
    assert parse_cmdline(f"reserve_mem={value}").reserve_mem == (memory,)


@pytest.mark.parametrize("value", ["", "0:1:a", "1M", "1M:1", "1M:1:", "x:1:a", "1M:1:" + "a" * 16])
def test_reserve_mem_the_kernel_refuses(value: str) -> None:
    found = parse_cmdline(f"reserve_mem={value}")
    assert found.reserve_mem == ()
    assert len(found.ignored) == 1


def test_a_name_is_taken_once() -> None:
    found = parse_cmdline(
        "reserve_mem=1M:1:a reserve_mem=2M:1:a trace_instance=t trace_instance=t@a"
    )
    assert found.reserve_mem == (ReserveMem("a", 1 << 20, 1),)
    assert found.instances == (TraceInstance("t"),)
    assert found.ignored == ("reserve_mem=2M:1:a", "trace_instance=t@a")


@pytest.mark.parametrize(
    ("text", "kho"),
    [
        ("kho=on", True), ("kho=1", True), ("kho=y", True), ("kho=off", False), ("kho=0", False),
        ("kho=n", False), ("kho=on kho=off", False), ("kho", None), ("kho=2", None), ("", None),
    ],
)  # fmt: skip
def test_kho(text: str, kho: bool | None) -> None:
    assert parse_cmdline(text).kho is kho


def test_quotes_and_what_is_for_init() -> None:
    assert split_parameters('a="b c" "d=e f" g --  trace_clock=local') == [
        ("a", "b c"), ("d", "e f"), ("g", None),
    ]  # fmt: skip
    assert parse_cmdline("init=/x -- trace_clock=mono").trace_clock is None
    assert parse_cmdline('dyndbg="file a +p" trace_clock="mono"').trace_clock == "mono"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("4M", (4 << 20, "")), ("0x7d600000:4M", (0x7D600000, ":4M")), ("010", (8, "")),
        ("0", (0, "")), ("0x", (0, "x")), ("1e", (1 << 60, "")), ("12kB", (12 << 10, "B")),
        ("16E", None), ("x", None), ("", None), ("-1", None), ("08", (0, "8")),
        ("18446744073709551615", ((1 << 64) - 1, "")), ("18446744073709551616", None),
        ("1" * 5000, None), ("0" * 5000 + "7", (7, "")), ("0x" + "f" * 5000, None),
    ],
)  # fmt: skip
def test_memparse(text: str, value: tuple[int, str] | None) -> None:
    assert memparse(text) == value


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("tkA@0x7d600000:4M", RegionSpec("tkA", 0x7D600000, 4 << 20)),
        ("tkA@2103443456:4194304", RegionSpec("tkA", 2103443456, 4194304)),
        ("a@b@1:1", RegionSpec("a@b", 1, 1)),
        ("../x@4K:4K", RegionSpec("../x", 4096, 4096)),
    ],
)
def test_region(text: str, spec: RegionSpec) -> None:
    assert parse_region(text) == spec


@pytest.mark.parametrize(
    "text",
    ["", "tkA", "tkA@", "tkA@0x1000", "tkA@0x1000:", "@0x1000:4M", "tkA@0:4M", "tkA@1:0",
     "tkA@1:4Mx", "tkA@-1:4M", "tkA@0xffffffffffffffff:4M", "tkA@1:16E"],
)  # fmt: skip
def test_regions_that_make_no_sense(text: str) -> None:
    with pytest.raises(UsageError, match="write NAME@ADDRESS:SIZE"):
        parse_region(text)


@pytest.mark.parametrize(
    ("text", "there", "region"),
    [
        ("tk@file:/dev/pmem0", [], FileRegion("tk", "/dev/pmem0")),
        ("tk@file:/dev/pmem0:0:8M", [], FileRegion("tk", "/dev/pmem0", 0, 8 << 20)),
        ("tk@file:/dev/pmem0:0x1000", [], FileRegion("tk", "/dev/pmem0", 4096)),
        ("a@b@file:m@1:2:3", [], FileRegion("a@b", "m@1", 2, 3)),
        ("tk@file:mem@file:1", [], FileRegion("tk", "mem@file", 1)),
        ("tk@file:a:b", [], FileRegion("tk", "a:b")),
        ("tk@file:a:b:4K", [], FileRegion("tk", "a:b", 4096)),
        ("tk@file:a:1:2:3", [], FileRegion("tk", "a:1", 2, 3)),
        ("tk@file:a:1:2:3", ["a:1:2:3"], FileRegion("tk", "a:1:2:3")),
        ("tk@file:a:1:2:3", ["a:1:2"], FileRegion("tk", "a:1:2", 3)),
        ("tk@file:a:1:2:3", ["a", "a:1"], FileRegion("tk", "a:1", 2, 3)),
        ("tk@file:pci-0000:00:1f", [], FileRegion("tk", "pci-0000:00:1f")),
        ("tk@file:5", [], FileRegion("tk", "5")),
        ("tk@file:a:2M:x", [], FileRegion("tk", "a:2M:x")),
    ],
)
def test_region_of_a_file(text: str, there: list[str], region: FileRegion) -> None:
    assert parse_region(text, there.__contains__) == region


@pytest.mark.parametrize("text", ["tk@file:", "tk@file::1", "tk@file::1:2", "tk@file:a:1:0",
                                  "tk@file:a\0b", "@file:a"])  # fmt: skip
def test_files_that_make_no_sense(text: str) -> None:
    with pytest.raises(UsageError, match="not a region"):
        parse_region(text, lambda _: False)


@pytest.mark.parametrize(
    ("text", "there", "memory"),
    [
        ("vmcore", [], MemoryFile("vmcore")),
        ("mem@0x40000000", [], MemoryFile("mem", 1 << 30)),
        ("mem@1G", [], MemoryFile("mem", 1 << 30)),
        ("mem@0", [], MemoryFile("mem", 0)),
        ("mem@1G", ["mem@1G"], MemoryFile("mem@1G")),
        ("mem@x", [], MemoryFile("mem@x")),
        ("a@b@4K", [], MemoryFile("a@b", 4096)),
    ],
)
def test_memory(text: str, there: list[str], memory: MemoryFile) -> None:
    assert parse_memory(text, there.__contains__) == memory


@pytest.mark.parametrize("text", ["", "@1", "a\0b"])
def test_memories_that_make_no_sense(text: str) -> None:
    with pytest.raises(UsageError, match="not a file"):
        parse_memory(text, lambda _: False)


@given(
    st.text("ab/:1", min_size=1, max_size=12),
    st.integers(0, 1 << 40),
    st.integers(1, 1 << 40),
)
def test_file_region_round_trip(path: str, offset: int, size: int) -> None:
    """A path that exists is found whatever its colons; with both numbers behind it at most."""
    for text, region in (
        (f"tk@file:{path}", FileRegion("tk", path)),
        (f"tk@file:{path}:{offset}", FileRegion("tk", path, offset)),
        (f"tk@file:{path}:{offset:#x}:{size}", FileRegion("tk", path, offset, size)),
    ):
        assert parse_region(text, [path].__contains__) == region


@given(st.text("ab0^@:,=x \"-M'\n\t", max_size=60))
def test_any_text_parses(text: str) -> None:
    parse_cmdline("trace_instance=" + text)
    parse_cmdline("reserve_mem=" + text)
    parse_cmdline(text)


@given(st.text())
def test_any_unicode_parses(text: str) -> None:
    parse_cmdline(text)
    with contextlib.suppress(UsageError):
        parse_region(text)
    with contextlib.suppress(UsageError):
        parse_region(f"a@file:{text}", lambda _: False)
    with contextlib.suppress(UsageError):
        parse_memory(text, lambda _: False)


@given(
    st.text("abcABC09_-", min_size=1, max_size=15),
    st.integers(1, (1 << 63) - 1),
    st.integers(1, 1 << 40),
)
def test_region_round_trip(name: str, address: int, size: int) -> None:
    for text in (f"{name}@{address:#x}:{size}", f"{name}@{address}:{size:#x}"):
        assert parse_region(text) == (name, address, size)
    command = parse_cmdline(f"trace_instance=t@{address:#x}:{size}")
    assert (command.instances[0].address, command.instances[0].size) == (address, size)


@pytest.mark.parametrize(
    ("value", "carved"),
    [
        ("16M$0x70000000", ((0x70000000, 16 << 20),)),
        ("16M%0x70000000-1+2", ((0x70000000, 16 << 20),)),
        ("16M%0x70000000+2", ((0x70000000, 16 << 20),)),
        ("16M%0x70000000-1", ()),  # removed from the map: not even reserved
        ("16M%0x70000000-2+1", ()),
        ("16M%0x70000000-1+2x", ()),  # the kernel refuses it
        ("16M", ()),
        ("16Mx70000000", ()),
        ("1M$16M,1M%32M-1+2", ((16 << 20, 1 << 20), (32 << 20, 1 << 20))),
    ],
)
def test_what_memmap_takes_out(value: str, carved: tuple[tuple[int, int], ...]) -> None:
    assert parse_cmdline(f"memmap={value}").carved == carved
