from __future__ import annotations

import dataclasses
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.text_records import ALPHA, BETA, CTX, UNKNOWN, make_format, record
from tracekit.errors import FormatError
from tracekit.ftrace.printers.function_graph import (
    Entry,
    Exit,
    GraphFormatter,
    compile_graph,
    graph_reader,
    irq_entry_code,
)
from tracekit.ftrace.symbols import Symbols

ENTRY = make_format(
    "ftrace", "funcgraph_entry",
    [("unsigned long func", 8, 8, False), ("unsigned long depth", 16, 8, False),
     ("unsigned long args[]", 24, 0, False)],
)  # fmt: skip
# before 6.18: an int's worth of depth, and neither arguments nor return values
OLD_ENTRY = make_format(
    "ftrace", "funcgraph_entry",
    [("unsigned long func", 8, 8, False), ("int depth", 16, 4, True)],
)  # fmt: skip
RETADDR_ENTRY = make_format(
    "ftrace", "funcgraph_retaddr_entry",
    [("unsigned long func", 8, 8, False), ("unsigned long depth", 16, 8, False),
     ("unsigned long retaddr", 24, 8, False), ("unsigned long args[]", 32, 0, False)],
)  # fmt: skip
EXIT = make_format(
    "ftrace", "funcgraph_exit",
    [("unsigned long func", 8, 8, False), ("unsigned long retval", 16, 8, False),
     ("unsigned int depth", 24, 4, False), ("unsigned int overrun", 28, 4, False),
     ("unsigned long long calltime", 32, 8, False), ("unsigned long long rettime", 40, 8, False)],
)  # fmt: skip
OTHER = make_format("sched", "sched_switch", [])
STACK = make_format("ftrace", "kernel_stack", [])
PRINT = make_format("ftrace", "print", [])


class Feeder:
    def __init__(self, cpus: int = 2, irq: range = range(0)) -> None:
        self.graph = GraphFormatter(CTX, cpus, irq)
        self.out: list[str] = []

    def enter(self, cpu: int, pid: int, func: int, depth: int, tail: bytes = b"") -> None:
        self._add(cpu, pid, ENTRY, record(ENTRY, tail, func=func, depth=depth))

    def leave(self, cpu: int, pid: int, func: int, depth: int, took: int) -> None:
        payload = record(EXIT, func=func, depth=depth, calltime=1000, rettime=1000 + took)
        self._add(cpu, pid, EXIT, payload)

    def other(self, cpu: int, pid: int, fmt, text: str) -> None:
        self._add(cpu, pid, fmt, bytes(8), text)

    def _add(self, cpu, pid, fmt, payload, text="", remark="") -> None:
        context = f"ctx-{pid} [00{cpu}]: "
        self.out.append(
            self.graph.add(cpu, pid, fmt, payload, context=context, text=text, remark=remark)
        )

    def text(self) -> str:
        return "".join(self.out) + self.graph.finish()


def test_a_leaf_keeps_its_place_among_the_cpus():
    feed = Feeder()
    feed.enter(0, 7, ALPHA, 0)
    feed.enter(1, 8, BETA, 0)
    feed.leave(0, 7, ALPHA, 0, 1234)
    assert feed.out == ["", "", " 0)   1.234 us    |  alpha();\n"]
    feed.leave(1, 8, BETA, 0, 99)
    feed.enter(0, 7, BETA, 1)
    assert feed.text() == (
        " 0)   1.234 us    |  alpha();\n"
        " 1)   0.099 us    |  beta [mod]();\n"
        " 0)               |    beta [mod]() {\n"
    )


def test_blocks_comments_and_plain_lines():
    feed = Feeder()
    feed.enter(0, 7, ALPHA, 0)
    feed.enter(0, 7, BETA, 1)
    feed.other(0, 7, OTHER, "sched_switch: a ==> b")
    feed.other(0, 7, PRINT, "alpha: message\n")
    feed.other(0, 7, STACK, "<stack trace>\n => alpha")
    feed.leave(0, 7, BETA, 1, 20_000)
    feed.leave(0, 7, ALPHA, 0, 1_500_000_000)
    feed.other(0, 7, None, "Unknown type 9")
    assert feed.text() == (
        " 0)               |  alpha() {\n"
        " 0)               |    beta [mod]() {\n"
        " 0)               |      /* sched_switch: a ==> b */\n"
        " 0)               |      /* message\n */\n"
        "ctx-7 [000]: <stack trace>\n => alpha\n"
        " 0) + 20.000 us   |    }\n"
        " 0) $ 1500000 us  |  }\n"
        "ctx-7 [000]: Unknown type 9\n"
    )


@pytest.mark.parametrize(
    ("took", "column"),
    [
        (0, "  0.000 us    |"),
        (10_000, "  10.000 us   |"),
        (10_001, "+ 10.001 us   |"),
        (123_456, "! 123.456 us  |"),
        (1_234_567, "# 1234.567 us |"),
        (12_345_678, "* 12345.67 us |"),
        (123_456_789, "@ 123456.7 us |"),
        (1_234_567_890, "$ 1234567 us  |"),
        (12_345_678_901, "$ 12345678 us |"),
        (123_456_789_012, "$ 123456789 us |"),
        (-1, "$ 18446744073709551 us |"),
    ],
)
def test_durations(took, column):
    feed = Feeder()
    feed.leave(0, 7, ALPHA, 0, took)
    assert feed.text() == f" 0) {column}  }} /* alpha */\n"


def test_an_exit_without_its_entry_is_named():
    feed = Feeder()
    feed.enter(0, 7, ALPHA, 2)
    feed.other(0, 7, OTHER, "x: y")
    feed.leave(0, 7, BETA, 2, 5)
    feed.leave(0, 7, ALPHA, 2, 5)
    assert feed.text().splitlines()[2:] == [
        " 0)   0.005 us    |      } /* beta [mod] */",
        " 0)   0.005 us    |      } /* alpha */",
    ]


def test_another_task_s_exit_is_no_leaf():
    feed = Feeder(cpus=128)
    feed.enter(3, 7, ALPHA, 0)
    feed.leave(3, 1, ALPHA, 0, 5)
    assert feed.text() == (
        "   3)               |  alpha() {\n"
        " ------------------------------------------\n"
        "   3)    seven-7     =>     init-1    \n"
        " ------------------------------------------\n"
        "\n"
        "   3)   0.005 us    |  }\n"
    )


def test_interrupts_have_arrows():
    feed = Feeder(irq=range(ALPHA, ALPHA + 0x100))
    feed.enter(0, 7, ALPHA, 0)
    feed.leave(0, 7, ALPHA, 0, 10)
    feed.enter(0, 7, ALPHA, 0)
    feed.enter(0, 7, BETA, 1)
    feed.leave(0, 7, BETA, 1, 10)
    feed.leave(0, 7, ALPHA, 0, 10)
    assert feed.text() == (
        " 0)   ==========> |\n"
        " 0)   0.010 us    |  alpha();\n"
        " 0)   <========== |\n"
        " 0)   ==========> |\n"
        " 0)               |  alpha() {\n"
        " 0)   0.010 us    |    beta [mod]();\n"
        " 0)   0.010 us    |  }\n"
        " 0)   <========== |\n"
    )


def test_remarks_come_before_their_event():
    feed = Feeder()
    feed.enter(0, 7, ALPHA, 0)
    feed._add(0, 7, OTHER, bytes(8), "x: y", remark="CPU:0 [LOST EVENTS]\n")
    assert feed.text().splitlines()[1:] == [
        "CPU:0 [LOST EVENTS]",
        " 0)               |  /* x: y */",
    ]


def test_arguments():
    feed = Feeder()
    feed.enter(0, 7, ALPHA, 0, struct.pack("<6Q", *range(6)))
    assert feed.text() == " 0)               |  alpha(0x0, 0x1, 0x2, 0x3, 0x4, 0x5) {\n"


@pytest.mark.parametrize(
    ("value", "shown", "in_hex"),
    [
        (0, "0x0", "0x0"),
        (0xFFFFFFEA, "-22", "0xffffffea"),  # an int
        (-22 & (1 << 64) - 1, "-22", "0xffffffffffffffea"),  # a long
        (0x80000000, "0x80000000", "0x80000000"),  # further down than any error code
    ],
)
def test_return_values(value, shown, in_hex):
    """``print_graph_retval()``: errors as numbers, all else in hexadecimal."""
    returned = record(EXIT, func=ALPHA, depth=0, retval=value, calltime=0, rettime=1000)
    for options, text in (
        ({"funcgraph-retval"}, shown),
        ({"funcgraph-retval", "funcgraph-retval-hex"}, in_hex),
        ({"funcgraph-retval-hex"}, None),
    ):
        graph = GraphFormatter(dataclasses.replace(CTX, options=frozenset(options)), 2)
        line = graph.add(0, 7, EXIT, returned, context="", text="") + graph.finish()
        value_text = f" ret={text}" if text else ""
        assert line == f" 0)   1.000 us    |  }} /* alpha{value_text} */\n"


def test_readers():
    for fmt in (ENTRY, OLD_ENTRY, RETADDR_ENTRY):
        read = graph_reader(fmt, CTX)
        assert read is not None
        caller = {"retaddr": BETA} if fmt is RETADDR_ENTRY else {}
        assert read(record(fmt, func=ALPHA, depth=3, **caller)) == Entry(
            ALPHA, 3, "()", caller.get("retaddr")
        )
        assert read(record(fmt, func=UNKNOWN, depth=-1, **caller))[:3] == (UNKNOWN, -1, "()")
    leave = graph_reader(EXIT, CTX)
    assert leave is not None
    times = {"calltime": 5, "rettime": 7}
    assert leave(record(EXIT, func=ALPHA, depth=-2, retval=9, **times)) == Exit(ALPHA, -2, 2, 9)
    with pytest.raises(struct.error):
        leave(bytes(20))
    assert graph_reader(OTHER, CTX) is None
    assert compile_graph(PRINT, CTX) is None
    with pytest.raises(FormatError):
        graph_reader(make_format("ftrace", "funcgraph_exit", []), CTX)


def test_what_cannot_be_read_is_a_comment():
    feed = Feeder()
    feed.other(0, 7, make_format("ftrace", "funcgraph_exit", []), "funcgraph_exit: a=1")
    feed._add(0, 7, ENTRY, bytes(12), "[record of 12 bytes]")
    assert feed.text() == (
        " 0)               |  /* funcgraph_exit: a=1 */\n"
        " 0)               |  /* [record of 12 bytes] */\n"
    )


def test_irq_entry_code():
    symbols = Symbols.from_kallsyms(
        f"{ALPHA:016x} T __irqentry_text_start\n{ALPHA + 64:016x} T __irqentry_text_end\n"
    )
    assert irq_entry_code(symbols) == range(ALPHA, ALPHA + 64)
    assert not irq_entry_code(Symbols.from_kallsyms(""))


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2), st.integers(-1, 2), st.sampled_from([ENTRY, EXIT, OTHER, STACK]),
            st.binary(max_size=80),
        ),
        max_size=30,
    )
)  # fmt: skip
def test_rubbish_loses_no_event(items):
    feed = Feeder()
    for number, (cpu, pid, fmt, payload) in enumerate(items):
        feed._add(cpu, pid, fmt, payload, f"event: {number}")
    text = feed.text()
    shown = [n for n, item in enumerate(items) if item[2] in (OTHER, STACK)]
    assert [n for n in shown if f"event: {n}" not in text] == []
    assert feed.graph.finish() == ""
