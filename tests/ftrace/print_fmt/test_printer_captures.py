"""``print fmt`` against the kernel's own text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ring.simple_decoder import records, region
from tests.support.text_records import formats
from tracekit.ftrace.context import Context
from tracekit.ftrace.print_fmt.printer import compile_print_fmt, fallback
from tracekit.ftrace.symbols import Symbols

#: enum inode_state_flags_enum of the captured kernel (include/linux/fs.h of 7.2). It is not among
#: the built-in constants because its values change between releases.
INODE_BITS = (
    "NEW SYNC LRU_ISOLATING - DIRTY_SYNC DIRTY_DATASYNC DIRTY_PAGES WILL_FREE FREEING CLEAR "
    "REFERENCED LINKABLE DIRTY_TIME WB_SWITCH OVL_INUSE CREATING DONTCACHE SYNC_QUEUED "
    "PINNING_NETFS_WB"
)
INODE_STATE = {f"I_{name}": 1 << bit for bit, name in enumerate(INODE_BITS.split())}
LINE = re.compile(r"^.{16,}-\d+\s+\[(\d+)\] \S{5}\s+\d+\.\d+: (.*)$", re.S)


#: Hashed by the kernel.
HASHED = re.compile(r"\b[0-9a-f]{16}\b")


def context(boot: Path) -> Context:
    strings = {}
    for line in (boot / "sys/kernel/tracing/printk_formats").read_text().splitlines():
        if m := re.match(r'0x([0-9a-f]+) : "(.*)"$', line):
            strings[int(m[1], 16)] = m[2].replace("\\n", "\n").replace("\\t", "\t")
    table = Symbols.from_kallsyms(
        (boot / "proc/kallsyms").read_text(), (boot / "proc/modules").read_text()
    )
    return Context(table, strings, {}, 250)


def golden(boot: Path) -> Iterator[tuple[int, str]]:
    """(cpu, text after the time stamp) of each event; further lines belong to the one before."""
    text = (boot / "sys/kernel/tracing/instances/tk/trace").read_text()
    cpu, parts = -1, []
    for line in text.splitlines():
        if m := LINE.match(line):
            if parts:
                yield cpu, "\n".join(parts)
            cpu, parts = int(m[1]), [m[2]]
        elif parts:
            parts.append(line)
    yield cpu, "\n".join(parts)


@pytest.mark.parametrize(
    ("name", "total", "compared"),
    [
        ("same-boot-7.2", 5018, 4691),
        pytest.param("same-boot-wide-7.2", 101519, 97090, marks=pytest.mark.slow),
    ],
)
def test_every_event_as_the_kernel_printed_it(capture, name, total, compared):
    boot = capture(name) / "old"
    known, ctx = formats(boot), context(boot)
    renderers = {}
    wrong: dict[str, tuple[str, str]] = {}
    seen: Counter[str] = Counter()
    pairs = list(zip(records(region(boot)), golden(boot), strict=True))
    assert len(pairs) == total
    for record, (cpu, line) in pairs:
        fmt = known[int.from_bytes(record.payload[:2], "little")]
        if fmt.system in ("ftrace", "syscalls") or fmt.field("__probe_ip"):
            continue  # printed by functions of their own
        if fmt.id not in renderers:
            renderers[fmt.id] = compile_print_fmt(fmt, ctx, INODE_STATE)
        seen[fmt.full_name] += 1
        got = f"{fmt.name}: {renderers[fmt.id](record.payload)}"
        assert cpu == record.cpu
        if HASHED.sub("@", got) != HASHED.sub("@", line):
            wrong.setdefault(fmt.full_name, (got, line))
    assert wrong == {}
    assert seen.total() == compared


@pytest.mark.parametrize(
    "tree",
    ["same-boot-7.2/old", "handover-7.2-to-7.3-tsc/old", "handover-7.2-to-7.3-tsc/new"],
)
def test_every_format_compiles(capture, tree):
    name, _, boot = tree.partition("/")
    known = formats(capture(name) / boot)
    assert len(known) > 1300
    shown = 0
    for fmt in known.values():
        size = max(f.offset + f.size for f in (*fmt.common, *fmt.fields))
        for render in (compile_print_fmt(fmt, Context(jiffies_hz=250)), fallback(fmt, Context())):
            for payload in (b"", bytes(size), b"\xff" * (size + 64), bytes(range(200))):
                shown += "(?expression)" in render(memoryview(payload))
    assert shown == 0  # nothing in these kernels is beyond the grammar
