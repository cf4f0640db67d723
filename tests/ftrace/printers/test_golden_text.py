"""Whole ``trace`` files of a real kernel, made again from its ring-buffer pages (see data/)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.ring.simple_decoder import events
from tests.support.text_records import formats_of
from tests.support.unpack import unpack
from tracekit.ftrace.context import Context
from tracekit.ftrace.printers.function_graph import GraphFormatter, irq_entry_code
from tracekit.ftrace.printers.render import make_renderer
from tracekit.ftrace.printers.trace_file import (
    BufferStarts,
    clock_in_ns,
    header,
    line_contexts,
    repeat_time,
)
from tracekit.ftrace.symbols import Symbols

ARCHIVE = Path(__file__).parent / "data/kernel-text-7.2.tar.zst"
PAGE = 4096


@pytest.fixture(scope="module")
def instances(tmp_path_factory):
    base = tmp_path_factory.mktemp("kernel-text")
    unpack(ARCHIVE, base)
    return base


class Instance:
    """One saved instance: its records in the order of the text, and all that names need."""

    def __init__(self, path: Path) -> None:
        def words(name: str) -> list[tuple[str, str]]:
            lines = (path / name).read_text().splitlines()
            return [(a, b) for a, _, b in (line.partition(" ") for line in lines)]

        self.tracer = (path / "current_tracer").read_text().strip()
        clock = re.search(r"\[(.+?)\]", (path / "trace_clock").read_text())
        self.in_ns = clock_in_ns(clock[1] if clock else "")
        self.comms = {int(pid): comm for pid, comm in words("saved_cmdlines")}
        tgids = {int(pid): int(tgid) for pid, tgid in words("saved_tgids")}
        options = (path / "trace_options").read_text().split()
        self.tgids = tgids if "record-tgid" in options else None
        self.symbols = Symbols.from_kallsyms((path / "kallsyms").read_text())
        self.formats = formats_of(path / "events")
        self.records: list[tuple[int, int, bytes]] = []
        self.overrun = 0
        for cpu in (0, 1):
            raw = (path / f"raw{cpu}").read_bytes()
            for at in range(0, len(raw), PAGE):
                self.records += [(ts, cpu, p) for ts, p in events(raw[at : at + PAGE])]
            stats = (path / f"stats{cpu}").read_text()
            self.overrun += int(re.findall(r"^overrun: (\d+)", stats, re.M)[0])
        self.records.sort(key=lambda r: r[:2])

    def text(self) -> str:
        ctx = Context(self.symbols, {}, self.comms)
        renderers = {number: make_renderer(f, ctx) for number, f in self.formats.items()}
        contexts = line_contexts(self.comms, self.in_ns, self.tgids)
        count = len(self.records)
        out = [header(self.tracer, count, count + self.overrun, 2, self.tgids is not None)]
        graph = GraphFormatter(ctx, 2, irq_entry_code(self.symbols))
        starts = BufferStarts(self.overrun > 0)
        for ts, cpu, payload in self.records:
            number, pid = (int.from_bytes(payload[a:b], "little") for a, b in ((0, 2), (4, 8)))
            fmt, renderer = self.formats[number], renderers[number]
            args = renderer.render(payload)
            if fmt.name == "func_repeats":
                args = repeat_time(args, ts, self.in_ns)
            line = contexts(cpu, pid, payload[2], payload[3], ts)
            text = renderer.prefix + args + renderer.suffix
            if self.tracer == "function_graph":
                out.append(graph.add(cpu, pid, fmt, payload, context=line, text=text))
            else:
                out.append(f"{starts.before(cpu)}{line}{text}\n")
        return "".join(out) + graph.finish()


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("graph", 1061),
        ("function", 1834),
        ("repeats", 1958),
        ("stacks", 316),
        ("probes", 239),
        ("sysc", 1502),
    ],
)
def test_line_for_line(instances, name, lines):
    golden = (instances / name / "trace").read_text(errors="backslashreplace")
    if name == "probes":  # an eprobe's format does not say which event it is attached to
        golden = golden.replace("e1: (syscalls.sys_enter_openat)", "e1: ")
    ours = Instance(instances / name).text()
    assert golden.count("\n") == lines
    assert ours.splitlines() == golden.splitlines()
