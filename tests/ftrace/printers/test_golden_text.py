"""Whole ``trace`` files of a real kernel, made again from its ring-buffer pages (see data/)."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.ring.simple_decoder import events
from tests.support.text_records import formats_of
from tests.support.unpack import unpack
from tracekit.ftrace.context import Context, Prototypes
from tracekit.ftrace.printers.function_graph import GraphFormatter, irq_entry_code
from tracekit.ftrace.printers.render import make_renderer
from tracekit.ftrace.printers.trace_file import (
    BufferStarts,
    clock_in_ns,
    header,
    line_contexts,
    mmiotrace_line,
    repeat_time,
)
from tracekit.ftrace.symbols import Symbols
from tracekit.timeline.saved.names import parse_printk_formats
from tracekit.timeline.saved.prototypes import SavedPrototypes

ARCHIVE = Path(__file__).parent / "data/kernel-text-7.2.tar.zst"
TYPES = ARCHIVE.with_name("arguments-btf-7.2.13.bin")
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
        self.options = frozenset(options)
        self.tgids = tgids if "record-tgid" in options else None
        self.symbols = Symbols.from_kallsyms((path / "kallsyms").read_text())
        texts = path / "printk_formats"
        self.printk_formats = parse_printk_formats(texts.read_text()) if texts.exists() else {}
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

    def text(self, prototypes: Prototypes | None = None) -> str:
        ctx = Context(
            self.symbols, self.printk_formats, self.comms, options=self.options,
            prototypes=prototypes, release="7.2.13",
        )  # fmt: skip
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
            if self.tracer == "mmiotrace":
                out.append(mmiotrace_line(fmt.full_name, text, ts))
                continue
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
        ("hwlat", 19),
    ],
)
def test_line_for_line(instances, name, lines):
    golden = (instances / name / "trace").read_text(errors="backslashreplace")
    if name == "probes":  # an eprobe's format does not say which event it is attached to
        golden = golden.replace("e1: (syscalls.sys_enter_openat)", "e1: ")
    ours = Instance(instances / name).text()
    assert golden.count("\n") == lines
    assert ours.splitlines() == golden.splitlines()


def test_texts_and_formats_of_a_module(instances):
    """``trace_puts()`` and ``trace_printk()``; the kernel does not end a line that they did not."""
    golden = (instances / "printk" / "trace").read_text()
    joined = "without a newline          insmod"
    assert golden.count(joined) == 4
    ours = Instance(instances / "printk").text()
    assert ours == golden.replace(joined, joined.replace("newline", "newline\n"))


def _events(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("#")]


@pytest.mark.parametrize(("name", "lines"), [("osnoise", 972), ("timerlat", 220)])
def test_tracers_with_a_header_of_their_own(instances, name, lines):
    """Of long texts the beginning, and the first pages."""
    golden = (instances / name / "trace").read_text().splitlines()
    assert len(golden) == lines
    assert Instance(instances / name).text().splitlines()[:lines] == golden


@pytest.mark.parametrize(("name", "lines"), [("retval", 296), ("mmiotrace", 59)])
def test_all_but_the_header(instances, name, lines):
    """Of long texts the beginning, and the first pages; mmiotrace takes all CPUs but one away."""
    golden = _events((instances / name / "trace").read_text())
    assert len(golden) == lines
    assert _events(Instance(instances / name).text())[:lines] == golden


class Recorded:
    """What a boot knows of its kernel's types: those of the functions that the text has."""

    index = 0

    def __init__(self) -> None:
        self.session = self

    def read(self, rel: str) -> bytes:
        assert rel == "boots/0/btf"
        return TYPES.read_bytes()

    def note(self, code: str, where: str, message: str) -> None:
        raise AssertionError(message)


def test_arguments_of_calls(instances):
    """``funcgraph-args``: their names, types and number are in the kernel's BTF."""
    golden = _events((instances / "arguments" / "trace").read_text())[:240]
    assert len(golden) == 240
    assert _events(Instance(instances / "arguments").text(SavedPrototypes(Recorded())))[:240] \
        == golden  # fmt: skip
    text = "\n".join(golden)
    assert "mode=0 [HRTIMER_MODE_ABS]" in text and "do_getname.constprop.0()" in text
    assert "dfd=4294967196, " in text and "count=0x1, " in text and " ret=0x" in text


def test_arguments_of_calls_without_the_kernels_types(instances):
    golden, ours = (
        [re.sub(r"\(.*?\)(?=;| \{)", "()", line) for line in _events(text)[:240]]
        for text in (
            (instances / "arguments" / "trace").read_text(),
            Instance(instances / "arguments").text(),
        )
    )
    assert ours == golden


def test_what_was_discarded_took_its_time(instances):
    """A histogram's trigger has events discarded, with the time that had passed until each.

    The kernel's reader forgets that time, so that what it prints is too early up to the end of a
    sub-buffer; the next one begins where ours ends.
    """

    def by_cpu(text: str) -> dict[str, list[tuple[float, str]]]:
        """CPU -> (seconds, all the rest), with the stacks below a line."""
        found: dict[str, list[tuple[float, str]]] = {}
        for one in re.split(r"^(?= +\S+-\d+ +\[)", "\n".join(_events(text)), flags=re.M)[1:]:
            cpu, at = re.search(r"\[(\d+)\]", one)[1], re.search(r" (\d+\.\d{6}): ", one)
            found.setdefault(cpu, []).append((float(at[1]), one.replace(at[0], "").strip()))
        return found

    golden = by_cpu((instances / "synthetic" / "trace").read_text())
    ours = by_cpu(Instance(instances / "synthetic").text())
    assert {cpu: len(each) for cpu, each in ours.items()} == {"000": 22, "001": 77}
    late = []
    for cpu, each in ours.items():
        assert [text for _, text in each] == [text for _, text in golden[cpu]]
        late += [a - b for (a, _), (b, _) in zip(each, golden[cpu], strict=True)]
    assert min(late) > -1e-5 and max(late) > 0.03
    pages = (instances / "synthetic" / "raw1").read_bytes()
    each = [list(events(pages[at : at + PAGE])) for at in range(0, len(pages), PAGE)]
    for before, after in pairwise(each):
        assert before[-1][0] <= after[0][0]
