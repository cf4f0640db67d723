from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.ring.simple_decoder import records, region
from tests.support.text_records import formats_of
from tracekit.ftrace.context import Context
from tracekit.ftrace.printers.render import Renderer, make_renderer
from tracekit.ftrace.printers.trace_file import (
    BufferStarts,
    clock_in_ns,
    comm_of,
    context,
    header,
    latency_flags,
    line_contexts,
    lost_events,
    repeat_time,
)
from tracekit.ftrace.symbols import Symbols


def test_task_names():
    comms = {0: "swapper/0", 7: "seven"}
    assert [comm_of(pid, comms) for pid in (0, 7, 8, -1)] == ["<idle>", "seven", "<...>", "<XXX>"]


def test_clocks():
    assert [c for c in ("local", "mono", "x86-tsc", "counter", "uptime") if clock_in_ns(c)] == [
        "local",
        "mono",
    ]


@pytest.mark.parametrize(
    ("flags", "preempt", "letters"),
    [
        (0x00, 0x00, "....."),
        (0x01, 0x01, "d..1."),
        (0x80, 0x00, "b...."),
        (0x81, 0x00, "D...."),
        (0x04, 0x10, ".n..1"),
        (0x02, 0xFA, ".l.af"),
        (0x06, 0x00, ".b..."),
        (0x20, 0x00, ".p..."),
        (0x22, 0x00, ".L..."),
        (0x24, 0x00, ".N..."),
        (0x26, 0x00, ".B..."),
        (0x08, 0x00, "..h.."),
        (0x10, 0x00, "..s.."),
        (0x18, 0x00, "..H.."),
        (0x40, 0x00, "..z.."),
        (0x48, 0x00, "..Z.."),
        (0x50, 0x00, "..z.."),
    ],
)
def test_letters(flags, preempt, letters):
    assert latency_flags(flags, preempt) == letters


def test_context():
    assert (
        context("python3", 60, 1, 0x09, 1, 25762836500, True)
        == "         python3-60      [001] d.h1.    25.762837: "
    )
    assert (
        context("a-rather-long-name", 1234567, 12, 0, 0, 5, False)
        == "a-rather-long-name-1234567 [012] .....            5: "
    )


@given(st.data())
def test_the_fast_way_is_the_same(data):
    small = st.integers(0, 255)
    in_ns, pid = data.draw(st.booleans()), data.draw(st.integers(-(1 << 31), (1 << 31) - 1))
    flags, preempt, cpu = data.draw(small), data.draw(small), data.draw(small)
    fast = line_contexts({1: "init"}, in_ns)
    for ts in data.draw(st.lists(st.integers(0, (1 << 64) - 1), max_size=4)):
        expected = context(comm_of(pid, {1: "init"}), pid, cpu, flags, preempt, ts, in_ns)
        assert fast(cpu, pid, flags, preempt, ts) == expected


def test_thread_groups():
    line = line_contexts({7: "seven"}, True, {7: 5})
    assert line(0, 7, 0, 0, 0) == "           seven-7       (      5) [000] .....     0.000000: "
    assert line(0, 8, 0, 0, 0) == "           <...>-8       (-------) [000] .....     0.000000: "


def test_function_graph_header():
    assert header("function_graph", 1, 2, 3) == (
        "# tracer: function_graph\n#\n"
        "# CPU  DURATION                  FUNCTION CALLS\n"
        "# |     |   |                     |   |   |   |\n"
    )


def test_lost_events():
    assert lost_events(3) == "CPU:3 [LOST EVENTS]\n"
    assert lost_events(3, 17) == "CPU:3 [LOST 17 EVENTS]\n"


def test_buffer_starts():
    starts = BufferStarts(overruns=True)
    said = [starts.before(cpu) for cpu in (1, 0, 1, 2, 0, 2)]
    assert said == ["", "", "", "##### CPU 2 buffer started ####\n", "", ""]
    assert not any(BufferStarts(overruns=False).before(cpu) for cpu in range(5))


def test_repeat_time():
    args = "a <-b (repeats: 3, last_ts: -1500)"
    assert repeat_time(args, 2_000_001_500, True) == "a <-b (repeats: 3, last_ts:     2.000000)"
    assert repeat_time(args, 1600, False) == "a <-b (repeats: 3, last_ts:          100)"
    assert repeat_time("[record of 9 bytes]", 1600, False) == "[record of 9 bytes]"


# ---- against the kernel's own text of the same bytes ----

LINE = re.compile(r".{16,}-\d+ +\[\d{3}\] .{5} +[\d.]+: ")
HASHED = re.compile(r"\b[0-9a-f]{16}\b")


def as_the_kernel(boot: Path, only: frozenset[str]) -> tuple[str, str, list[tuple[str, str]]]:
    """The header both ways, and pairs (what we print, what the kernel printed), one an event.

    ``only``: systems whose args are printed; "" for the others.
    """
    tracefs = boot / "sys/kernel/tracing"
    instance = tracefs / "instances/tk"
    printed = (instance / "trace").read_text(errors="backslashreplace")
    top = "".join(line for line in printed.splitlines(True)[:12])
    starts = [m.start() for m in re.finditer(rf"^{LINE.pattern}", printed, re.M)]
    golden = [printed[a:b] for a, b in zip(starts, [*starts[1:], len(printed)], strict=True)]

    cmdlines = (tracefs / "saved_cmdlines").read_text().splitlines()
    comms = {int(pid): comm for pid, _, comm in (line.partition(" ") for line in cmdlines)}
    symbols = Symbols.from_kallsyms((boot / "proc/kallsyms").read_bytes())
    ctx, formats = Context(symbols, {}, comms), formats_of(tracefs / "events")
    renderers: dict[int, Renderer] = {}
    clock = re.search(r"\[(.+?)\]", (instance / "trace_clock").read_text())
    assert clock is not None
    contexts = line_contexts(comms, clock_in_ns(clock[1]))
    pairs = []
    events = list(records(region(boot)))
    for event, expected in zip(events, golden, strict=True):
        number = int.from_bytes(event.payload[:2], "little")
        pid = int.from_bytes(event.payload[4:8], "little", signed=True)
        line = contexts(event.cpu, pid, event.payload[2], event.payload[3], event.ts)
        fmt = formats[number]
        if fmt.system in only:
            renderer = renderers.setdefault(number, make_renderer(fmt, ctx))
            line += f"{renderer.prefix}{renderer.render(event.payload)}{renderer.suffix}\n"
            pairs.append((line, expected))
        else:
            name = f"{fmt.name}: "
            pairs.append((line + name, expected[: len(line) + len(name)]))
    tracer = (instance / "current_tracer").read_text().strip()
    return header(tracer, len(events), len(events), 2), top, pairs


@pytest.mark.parametrize(
    ("name", "events", "ours"),
    [
        ("same-boot-7.2", 5018, 327),
        pytest.param("same-boot-wide-7.2", 101_519, 4429, marks=pytest.mark.slow),
    ],
)
def test_the_same_bytes_as_the_kernel_printed_them(capture, name, events, ours):
    systems = frozenset({"ftrace", "syscalls", "handover"})
    top, golden_top, pairs = as_the_kernel(capture(name) / "old", systems)
    assert top == golden_top
    assert len(pairs) == events
    assert sum(line.endswith("\n") for line, _ in pairs) == ours
    assert [(a, b) for a, b in pairs if a != b] == []
