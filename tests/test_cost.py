"""Inputs of a megabyte that a search, a loop or a pattern could take quadratic time over.

Each is read in a process that may take a minute of CPU: linear takes well under a second, quadratic
takes hours, so nothing here depends on how fast the machine is.
"""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

BEFORE = """
import io, json, resource, struct, sys
from tracekit.errors import TracekitError
resource.setrlimit(resource.RLIMIT_CPU, (60, 70))
MANY = 1 << 20
HEAD = ("name: x\\nID: 5\\nformat:\\n\\tfield:unsigned short common_type;\\toffset:0;\\tsize:2;"
        "\\tsigned:0;\\n\\n")
def refused(function, *args):
    try:
        return function(*args)
    except TracekitError as error:
        return error
def format_of(fields, print_fmt='"x"'):
    from tracekit.ftrace.format import parse_format
    return refused(parse_format, f"{HEAD}{fields}\\nprint fmt: {print_fmt}\\n", "s", "p")
def field(declared):
    return f"\\tfield:{declared};\\toffset:8;\\tsize:8;\\tsigned:0;\\n"
"""

CASES = {
    "kallsyms of one line": """
from tracekit.ftrace.symbols import Symbols
table = Symbols.from_kallsyms("x _stext\\t[ " * (MANY // 8) + "\\n", "a " * MANY)
assert table.code("_stext") is None and table.lookup(1 << 63) is None
""",
    "kallsyms with a line that begins as a symbol": """
from tracekit.ftrace.symbols import Symbols
table = Symbols.from_kallsyms("ffffffff81000000 T _stext\\t[ " * (MANY // 16) + "\\n")
assert table.code("_stext") == 0xFFFFFFFF81000000
""",
    "a core of 65,535 overlapping segments": """
from tracekit.carriers.dumps.elf_core import ElfCore
count = 65535
head = b"\\x7fELF\\2\\1\\1".ljust(16, b"\\0") + struct.pack(
    "<HHIQQQIHHHHHH", 4, 62, 1, 0, 64, 0, 0, 64, 56, count, 0, 0, 0)
table = b"".join(
    struct.pack("<IIQQQQQQ", 1, 0, 4096 * i, 0, 4096 * i, 8192, 8192, 0) for i in range(count))
memory = ElfCore(io.BytesIO(head + table), "core")
assert len(memory.ranges) == count and memory.holds(0, 4096 * (count + 1))
assert all(memory.holds(4096 * i, 4096) for i in range(0, count, 7))
""",
    "a core whose headers lie on one another": """
from tracekit.carriers.dumps.elf_core import ElfCore
head = b"\\x7fELF\\2\\1\\1".ljust(16, b"\\0") + struct.pack(
    "<HHIQQQIHHHHHH", 4, 62, 1, 0, 64, 0, 0, 64, 0, 65535, 0, 0, 0)
stream = io.BytesIO(head.ljust(256, b"\\1"))
assert isinstance(refused(ElfCore, stream, "core"), TracekitError)
""",
    "a command line of many instances": """
from tracekit.parameters import memparse, parse_cmdline
text = " ".join(f"trace_instance=a{i} reserve_mem=1:1:b{i}" for i in range(MANY // 16))
assert len(parse_cmdline(text).instances) == MANY // 16
assert memparse("9" * MANY) is None and memparse("0" * MANY) == (0, "")
""",
    "a trace clock of brackets": """
from tracekit.capture.save.kernel import describe_kernel
files = ("version", "cmdline", "stat", "uptime", "trace_clock", "header_page", "notes")
assert describe_kernel(dict.fromkeys(files, b"[" * MANY))["trace_clock"] is None
""",
    "a field of brackets, stars and spaces": """
for unit in "[", "*", "] [", " ", "a[", "__data_loc char[] ":
    format_of(field(unit * (MANY // len(unit))) + field("int a"))
""",
    "a format of many fields": """
assert len(format_of("".join(field(f"int a{i}") for i in range(MANY // 32))).fields) == MANY // 32
""",
    "a probe of many arguments": """
from tracekit.ftrace.context import Context, NoSymbols
from tracekit.ftrace.printers.probes import compile_probe
count = MANY // 32
fields = "".join(field(f"u64 a{i}") for i in range(count))
text = "".join(f" a{i}=%u" for i in range(count))
made = format_of(field("unsigned long __probe_ip") + fields, f'"(%lx){text}", REC->__probe_ip')
refused(compile_probe, made, Context(NoSymbols(), {}, {}, None))
""",
    "names, formats of printk, the log": """
from tracekit.clocks.kernel_log import read_kernel_log
from tracekit.timeline.saved.names import parse_comms, parse_printk_formats
clock = "[    0.000000] a: setting system clock to "
for unit in "1 a\\n", "\\n", "0x1 : \\"", clock, "[", "<0>", "\\\\n":
    text = unit * (MANY // len(unit))
    parse_comms(text), parse_printk_formats(text), read_kernel_log(text)
""",
    "a device tree of 65,536 nodes": """
from tests.support.fdt_writer import Tree, write_fdt
from tracekit.kho.tree import parse_memblock, parse_tree
data = write_fdt(Tree("", {"compatible": b"kho-v2\\0"}, [Tree(f"n{i}") for i in range(65535)]))
assert parse_tree(data, "fdt").blobs == () and parse_memblock(data) == []
""",
    "an archive of many members": """
from tracekit.session.packing.tar import tar_members
def member(i):
    head = bytearray(512)
    head[:8], head[124:136] = b"%08d" % i, b"0" * 11 + b" "
    head[156:157], head[257:263] = b"0", b"ustar\\0"
    return bytes(head)
assert len(tar_members(b"".join(map(member, range(100_000))), "x.tar", 1 << 18)) == 100_000
""",
    "a manifest of many files and boots": """
from tracekit.session.manifest import parse_manifest
files = {f"boots/{i % 256}/tracefs/events/a/b{i}/format": "0" * 64 for i in range(100_000)}
remark = {"boot": 1, "code": "c", "severity": "info", "where": "w", "message": "m"}
made = {"tool": "tracekit", "format_version": 1, "state": "recovered", "files": files,
        "boots": list(range(256)) * 99, "diagnostics": [remark] * 50_000}
assert parse_manifest(json.dumps(made).encode(), "S").boots == list(range(256))
""",
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_time_grows_with_the_size(case: str) -> None:
    code = BEFORE + CASES[case]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode not in (-signal.SIGXCPU, -signal.SIGKILL), "it took a minute of CPU"
    assert done.returncode == 0, done.stderr
