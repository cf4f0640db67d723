from __future__ import annotations

import struct

import pytest

from tests.support.text_records import (
    ALPHA,
    BETA,
    CTX,
    TRAMPOLINE,
    UNKNOWN,
    captured,
    make_format,
    record,
)
from tracekit.errors import FormatError
from tracekit.ftrace.format import EventFormat
from tracekit.ftrace.printers.builtin import compile_builtin


@pytest.fixture(scope="module")
def printed(capture):
    """printed(event, tail, **values) -> the text of one record, by the captured format."""
    boot = capture("same-boot-7.2") / "old"

    def text(name: str, tail: bytes = b"", /, **values: int | bytes) -> str:
        fmt = captured(boot, f"ftrace/{name}")
        render = compile_builtin(fmt, CTX)
        assert render is not None
        payload = record(fmt, tail, **values)
        assert render(memoryview(payload)) == render(payload)
        return render(payload)

    return text


def words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}Q", *values)


def test_function(printed):
    assert printed("function", ip=ALPHA, parent_ip=BETA + 5) == "alpha <-beta"
    assert printed("function", ip=ALPHA, parent_ip=0) == "alpha"
    assert printed("function", ip=0, parent_ip=TRAMPOLINE) == "0 <-[unknown/kretprobe'd]"
    assert printed("function", ip=UNKNOWN, parent_ip=0x12) == "0xffff888000001234 <-0x00000012"


def test_function_arguments(printed):
    six = words(1, 2, 3, 4, 5, 0xFFFFFFFFFFFFFFFF)
    assert (
        printed("function", six, ip=ALPHA, parent_ip=BETA)
        == "alpha(0x1, 0x2, 0x3, 0x4, 0x5, 0xffffffffffffffff) <-beta"
    )
    # what is left of an event's padding is no set of arguments
    assert printed("function", words(1, 2), ip=ALPHA, parent_ip=BETA) == "alpha <-beta"


def test_function_before_arguments_existed():
    fields = [("unsigned long ip", 8, 8, False), ("unsigned long parent_ip", 16, 8, False)]
    fmt = make_format("ftrace", "function", fields)
    render = compile_builtin(fmt, CTX)
    assert render is not None
    assert render(record(fmt, words(*range(6)), ip=ALPHA, parent_ip=BETA)) == "alpha <-beta"


def test_func_repeats(printed):
    text = printed(
        "func_repeats", ip=ALPHA, parent_ip=BETA, count=3, top_delta_ts=1, bottom_delta_ts=2
    )
    assert text == "alpha <-beta (repeats: 3, last_ts: -4294967298)"


def test_stacks(printed):
    callers = words(ALPHA, 0x7FFFFFFF, UNKNOWN, (1 << 64) - 1, BETA)
    assert (
        printed("kernel_stack", size=8, caller=callers)
        == "<stack trace>\n => alpha\n => [FTRACE TRAMPOLINE]\n => 0xffff888000001234"
    )
    assert (
        printed("user_stack", words(9), tgid=1, caller=words(0x401000, 0x402000, 0, 5))
        == "<user stack trace>\n =>  <0000000000401000>\n =>  <0000000000402000>"
    )
    assert printed("user_stack", words(9), caller=words(*[1] * 8)).count("=>") == 8


def test_print(printed):
    assert printed("print", b"hello\n\0rest", ip=ALPHA) == "alpha: hello"
    assert printed("print", b"two\nlines\n\n", ip=ALPHA) == "alpha: two\nlines\n"
    assert printed("print", b"caf\xc3\xa9 \xff", ip=0) == "0: café \\xff"


def test_printk(printed):
    assert printed("bprint", b"word\0\0\0\0\xfd\xff\xff\xff", ip=ALPHA, fmt=0x1000) == (
        "alpha: word is -3"
    )
    assert printed("bprint", ip=ALPHA, fmt=5) == "alpha: [no format known for 0x5]"
    assert printed("bputs", ip=ALPHA, str=0x2000) == "alpha: fixed text"
    assert printed("bputs", ip=ALPHA, str=5) == "alpha: [no text known for 0x5]"


def test_raw_data(printed):
    assert printed("raw_data", b"hello\xff", id=0x1F) == "# 1f buf: 68 65 6c 6c 6f ff"
    assert printed("raw_data", id=0) == "# 0 buf:"


def test_context_switch(printed):
    values = {
        "prev_pid": 1, "prev_prio": 120, "prev_state": 1, "next_cpu": 2, "next_pid": 7,
        "next_prio": 98, "next_state": 0,
    }  # fmt: skip
    assert printed("context_switch", **values) == "       1:120:S ==> [002]       7: 98:R seven"
    assert printed("wakeup", **values | {"next_pid": 0, "next_state": 200}) == (
        "       1:120:S   + [002]       0: 98:? <idle>"
    )


def test_branch(printed):
    values = {"line": 12, "func": b"some_function\0", "file": b"file.c\0"}
    assert printed("branch", correct=1, **values) == "[  ok  ] some_function:file.c:12"
    assert printed("branch", correct=0, **values) == "[ MISS ] some_function:file.c:12"


def test_latency_tracers(printed):
    values = {
        "seqnum": 3, "duration": 12, "outer_duration": 34, "tv_sec": 1700000000, "tv_nsec": 42,
        "count": 2,
    }  # fmt: skip
    start = "#3     inner/outer(us):   12/34    ts:1700000000.000000042 count:2"
    assert printed("hwlat", **values) == start
    assert printed("hwlat", nmi_count=1, nmi_total_ts=9, **values) == (
        f"{start} nmi-total:9 nmi-count:1"
    )
    assert printed("hwlat", nmi_count=1, **values) == f"{start} nmi-count:1"
    assert (
        printed("osnoise", noise=1000, runtime=1_000_000, max_sample=7, hw_count=1, irq_count=20)
        == "1000000       1000  99.90000       7      1      0     20      0      0"
    )
    assert printed("osnoise", noise=1, runtime=0).startswith("0          1   0.00000")
    assert (
        printed("timerlat", seqnum=12, context=1, timer_latency=1234)
        == "#12    context thread timer_latency      1234 ns"
    )
    assert "context      9 " in printed("timerlat", context=9)


def test_mmiotrace(printed):
    access = {"phys": 0xFE000000, "value": 0x12345, "pc": 0xABC, "map_id": 1, "width": 4}
    assert printed("mmiotrace_rw", opcode=1, **access) == "R 4 1 0xfe000000 0x12345 0xabc 0"
    assert printed("mmiotrace_rw", opcode=2, **access) == "W 4 1 0xfe000000 0x12345 0xabc 0"
    assert printed("mmiotrace_rw", opcode=5, **access) == "UNKNOWN 1 0xfe000000 01,23,45 0xabc 0"
    assert printed("mmiotrace_rw", opcode=9, **access) == "rw what?"
    mapped = {"phys": 0xFE000000, "virt": 0x1000, "len": 0x20, "map_id": 1}
    assert printed("mmiotrace_map", opcode=3, **mapped) == "MAP 1 0xfe000000 0x1000 0x20 0x0 0"
    assert printed("mmiotrace_map", opcode=4, **mapped) == "UNMAP 1 0x0 0"
    assert printed("mmiotrace_map", opcode=0, **mapped) == "map what?"


def test_single_graph_records(printed):
    assert printed("funcgraph_entry", func=BETA, depth=2) == "    beta [mod]() {"
    assert printed("funcgraph_exit", func=ALPHA, depth=1) == "  } /* alpha */"


def test_what_is_not_known_or_not_possible():
    assert compile_builtin(make_format("ftrace", "brand_new", []), CTX) is None
    with pytest.raises(FormatError, match="no field 'ip'"):
        compile_builtin(make_format("ftrace", "function", []), CTX)
    twisted = [("unsigned long ip", 8, 8, False), ("unsigned long parent_ip", 12, 8, False)]
    with pytest.raises(FormatError, match="no plain integer"):
        compile_builtin(make_format("ftrace", "function", twisted), CTX)


def test_fields_in_another_order():
    fields = [("unsigned long parent_ip", 8, 8, False), ("unsigned long ip", 16, 8, False)]
    fmt: EventFormat = make_format("ftrace", "function", fields)
    render = compile_builtin(fmt, CTX)
    assert render is not None
    assert render(record(fmt, ip=ALPHA, parent_ip=BETA)) == "alpha <-beta"
