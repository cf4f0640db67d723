"""``print fmt`` against the kernel's own text, against GCC, and against hostile input."""

from __future__ import annotations

import random
import re
import shutil
import struct
import subprocess
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.ring.simple_decoder import records, region
from tracekit.errors import FormatError
from tracekit.ftrace.context import Context, Symbolized
from tracekit.ftrace.format import EventFormat, parse_format
from tracekit.ftrace.print_fmt.printer import TRUNCATED, compile_print_fmt, fallback
from tracekit.ftrace.symbols import Symbols

COMMON = """\
	field:unsigned short common_type;	offset:0;	size:2;	signed:0;
	field:unsigned char common_flags;	offset:2;	size:1;	signed:0;
	field:unsigned char common_preempt_count;	offset:3;	size:1;	signed:0;
	field:int common_pid;	offset:4;	size:4;	signed:1;
"""
HEADER = struct.pack("<HBBi", 7, 0x18, 1, 42)


def make(print_fmt: str, *fields: str, system: str = "test") -> EventFormat:
    """A format whose fields are given as ``declaration@offset:size[:signed]``."""
    lines = []
    for one in fields:
        declaration, _, place = one.partition("@")
        offset, size, *signed = place.split(":")
        lines.append(
            f"\tfield:{declaration};\toffset:{offset};\tsize:{size};\tsigned:{int(bool(signed))};\n"
        )
    text = f"name: event\nID: 7\nformat:\n{COMMON}\n{''.join(lines)}\nprint fmt: {print_fmt}\n"
    return parse_format(text, system, "test")


def show(fmt: EventFormat, data: bytes, ctx: Context | None = None) -> str:
    return compile_print_fmt(fmt, ctx or Context())(HEADER + data)


def evaluate(expression: str, conversion: str = "%lld", **constants: int) -> str:
    """Print one expression over a fixed record."""
    fmt = make(
        f'"{conversion}", {expression}',
        "int i@8:4:s", "unsigned int u@12:4", "long l@16:8:s", "unsigned long ul@24:8",
        "u8 b@32:1", "s8 sb@33:1:s", "u16 h@34:2", "char c@36:1", "bool t@37:1",
        "u32 arr[3]@40:12", "char comm[8]@52:8", "__data_loc u16[] dyn@60:4",
        "const char * s@64:8", "__data_loc char[] str@72:4", "struct pt two@80:16",
        "__rel_loc char[] rel@96:4", "u32 flex[]@100:0",
    )  # fmt: skip
    data = struct.pack("<iIqQBbHBB2x3I8sIQI4x16sI", -1, 0xFFFFFFFF, -2, (1 << 64) - 3, 200, -56,
                       65535, 255, 1, 10, 20, 30, b"swapper\0", 104 | 6 << 16, 0xFFFF0000,
                       110 | 3 << 16, bytes(range(16)), 13 | 4 << 16)  # fmt: skip
    tail = struct.pack("<I3H", 77, 1, 2, 3) + b"hi\0" + b"rel\0"
    ctx = Context(printk_formats={0xFFFF0000: "known"}, jiffies_hz=250)
    return compile_print_fmt(fmt, ctx, constants)(HEADER + data + tail)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("REC->i", "-1"),
        ("REC->u", "4294967295"),
        ("(REC)->l", "-2"),
        ("REC->i < REC->u", "0"),  # -1 becomes unsigned
        ("REC->l < REC->u", "1"),  # unsigned int becomes long
        ("REC->i + 1 == 0", "1"),
        ("REC->u + 1", "0"),
        ("REC->u + 1L", "4294967296"),
        ("REC->b + REC->b", "400"),  # u8 becomes int
        ("(u8)(REC->b + REC->b)", "144"),
        ("(char)REC->i", "255"),  # the kernel's char is unsigned
        ("(signed char)REC->u", "-1"),
        ("(bool)REC->l", "1"),
        ("REC->sb >> 1", "-28"),
        ("(unsigned)REC->sb >> 28", "15"),
        ("-7 / 2", "-3"),
        ("-7 % 3", "-1"),
        ("7 / -2", "-3"),
        ("~0U", "4294967295"),
        ("~0", "-1"),
        ("!REC->i", "0"),
        ("1 << 31", "-2147483648"),
        ("1UL << 31", "2147483648"),
        ("1 << 33", "2"),  # undefined in C; the CPU takes the shift modulo 32
        ("REC->i ? REC->b : 0UL", "200"),
        ("1 ? -1 : 0U", "4294967295"),
        ("REC->i && 0", "0"),
        ("0 || REC->l", "1"),
        ("REC->l ?: 5", "-2"),
        ("0 ?: 5", "5"),
        ("sizeof(int) + sizeof(REC->arr) + sizeof(REC->arr[0])", "20"),
        ("sizeof(void *)", "8"),
        ("sizeof(REC->b + 1)", "4"),
        ("REC->arr[0] + REC->arr[2]", "40"),
        ("REC->arr[REC->t]", "20"),
        ("*REC->arr", "10"),
        ("*(REC->arr + 1)", "20"),
        ("((u16 *)REC->arr)[2]", "20"),
        ("*(u8 *)&REC->ul", "253"),
        ("REC->flex[0]", "77"),
        ("REC->comm[1]", "119"),
        ('"abc"[REC->t]', "98"),
        ("((u16 *)__get_dynamic_array(dyn))[1]", "2"),
        ("__get_dynamic_array_len(dyn) / sizeof(u16)", "3"),
        ("REC->__data_loc_dyn & 0xffff", "104"),
        ("REC->common_pid", "42"),
        ("REC->ent.pid", "42"),
        ("REC->common_flags & 0x18", "24"),
        ("(void *)REC->ul + 1", "-2"),
        ("(u32 *)8 + 1", "12"),
        ("({ int __x = (REC->b); int __y = 9; __x < __y ? __x : __y; })", "9"),
        ("({ int a = ({ int b = 3; b * b; }); int b = 1; a + b; })", "10"),
        ("__builtin_expect(!!(REC->i), 1)", "1"),
        ("__builtin_choose_expr(sizeof(int) == 4, 1, 2)", "1"),
        ("__builtin_constant_p(3)", "1"),
        ("__builtin_constant_p(REC->i)", "0"),
        # __is_constexpr(), include/linux/compiler.h
        ("sizeof(int) == sizeof(*(8 ? ((void *)((long)(3) * 0l)) : (int *)8))", "1"),
        ("sizeof(int) == sizeof(*(8 ? ((void *)((long)(REC->i) * 0l)) : (int *)8))", "0"),
        # is_signed_type(), include/linux/compiler.h
        ("((typeof(REC->i))(-1)) < (typeof(REC->i))1", "1"),
        ("((typeof(REC->u))(-1)) < (typeof(REC->u))1", "0"),
        # FIELD_GET(GENMASK(11, 4), REC->h), include/linux/bitfield.h
        (
            "({ do { if (!(!((0xff0) == 0))) __compiletime_assert_1(); } while (0); "
            "(typeof(0xff0UL))(((REC->h) & (0xff0UL)) >> (__builtin_ffsll(0xff0UL) - 1)); })",
            "255",
        ),
        ("__builtin_bswap32(0x01020304)", "67305985"),
        ("be16_to_cpu(REC->h)", "65535"),
        ("__print_ns_to_secs(5000000001)", "5"),
        ("__print_ns_without_secs(5000000001)", "1"),
        ("jiffies_to_msecs(3)", "12"),
        ("'A'", "65"),
        ("HRTIMER_MODE_REL_HARD", "9"),
        ("OTHER + 1", "(?OTHER)"),
        ("REC->missing", "(?missing)"),
        ("REC->i / 0", "(division by zero)"),
        ("REC->arr[9]", TRUNCATED),
        ("REC->arr[-1]", TRUNCATED),
    ],
)
def test_expressions(expression, expected):
    assert evaluate(expression) == expected


def test_constants_of_the_caller():
    assert evaluate("MINE | 1", MINE=4) == "5"


@pytest.mark.parametrize(
    ("conversion", "expression", "expected"),
    [
        ("%d", "REC->u", "-1"),
        ("%u", "REC->i", "4294967295"),
        ("%hhu", "REC->h", "255"),
        ("%x", "REC->l", "fffffffe"),
        ("%lx", "REC->i", "f" * 16),
        ("%c%%", "'A'", "A%"),
        ("%c", "REC->b", "\\xc8"),
        ("%s", "REC->comm", "swapper"),
        ("%.3s", "REC->comm", "swa"),
        ("%10s|", "REC->comm", "   swapper|"),
        ("%-10s|", "REC->comm", "swapper   |"),
        ("%s", "__get_str(str)", "hi"),
        ("%s", "__get_rel_str(rel)", "rel"),
        ("%s", "REC->str", "hi"),
        ("%s", "REC->s", "known"),
        ("%s", "REC->l", "(efault)"),
        ("%s", "(char *)0", "(null)"),
        ("%s", "(char *)0xffff1230", "0xffff1230"),
        ("%s", 'REC->i ? "yes" : "no"', "yes"),
        ("%s", 'REC->t ? __get_str(str) : "none"', "hi"),
        ("%s", "REC->t ? REC->comm : __get_str(str)", "swapper"),
        ("%s", 'REC->t ? unknown_name : "x"', "(?unknown_name)"),
        ("%s", '!REC->t ? unknown_name : "x"', "x"),
        ("%p", "REC->t ? jiffies + 1 : (void *)0", "(?jiffies)"),
        ("%p", "!REC->t ? jiffies + 1 : (void *)0", "0" * 16),
        # a page is named by its offset in the array of struct page, 64 bytes each
        ("%p", "((struct page *)vmemmap_base) + 3", "00000000000000c0"),
        ("%p", "(void *)REC->ul", "f" * 15 + "d"),
        ("%s", "REC->i + 1", "(null)"),
        ("%d", '"text"', "(?string)"),
        ("%d", "mystery(REC->i, 2, jiffies)", "(?mystery(-1, 2, ?))"),
        ("%d", "mystery(REC->i) + 1", "(?mystery())"),
        ("%s", "REC->two", ""),
        ("%*ph", "3, REC->two", "00 01 02"),
        ("%*phN", "(int)REC->t + 2, REC->two", "000102"),
        ("%*pbl", "16, REC->arr", "1,3"),
        ("%.*s", "4, REC->comm", "swap"),
        ("%*d|%-*d|", "5, REC->i, 5, 7", "   -1|7    |"),
        ("%*d", "-5, REC->i", "-1   "),
        ("%*d", "REC->t, jiffies", "(?jiffies)"),
        ("%pI4", "REC->two", "0.1.2.3"),
        ("%pI4", "&REC->u", "255.255.255.255"),
        ("%pU", "REC->two", "00010203-0405-0607-0809-0a0b0c0d0e0f"),
        ("%pd", "REC->two", "(?address)"),
        ("%s", '__print_flags(REC->h & 5, "|", { 1, "A" }, { 4, "C" })', "A|C"),
        ("%s", '__print_flags(9, "", { 1, "A" })', "A0x8"),
        ("%s", '__print_flags(0, "|", { 1, "A" })', ""),
        ("%s", '__print_flags(3, "|", { { 1, "A" }, { 2, "B" } })', "A|B"),
        ("%s", '__print_flags(3, "|", { ODD, "A" }, { 2, "B" })', "B|0x1"),
        ("%s", '__print_flags(3, "|", TABLE)', "0x3"),
        ("%s", '__print_symbolic(REC->i, { 1, "A" }, { -1, "minus" "!" })', "minus!"),
        ("%s", '__print_symbolic(5, { 1, "A" }, { ODD, "B" })', "0x5"),
        ("%s", '__print_symbolic(REC->i, { 1, "A" })', "0x" + "f" * 16),
        ("%s", "__print_symbolic(REC->i, { -1, ((void *)0) })", "0x" + "f" * 16),
        ("%s", '__print_symbolic(2, { 2, "first" }, { 2, "second" })', "first"),
        ("%s", "__print_hex(REC->two, 3)", "00 01 02"),
        ("%s", "__print_hex_str(REC->two, 3)", "000102"),
        ("%s", "__print_hex_str(REC->two, 17)", TRUNCATED),
        ("%s", "__print_array(REC->arr, 3, 4)", "{0xa,0x14,0x1e}"),
        ("%s", "__print_array(REC->arr, 0, 4)", "{}"),
        ("%s", "__print_dynamic_array(dyn, sizeof(u16))", "{0x1,0x2,0x3}"),
        ("%s", "__get_bitmask(dyn)", "0003,00020001"),
        (
            "%s",
            '__print_hex_dump("p ", DUMP_PREFIX_OFFSET, 16, 1, REC->two, 4, 1)',
            "\np 00000000: 00 01 02 03" + " " * 38 + "....\n",
        ),
        (
            "%s",
            '__print_hex_dump("", DUMP_PREFIX_NONE, 16, 4, REC->two, 16, 0)',
            "\n03020100 07060504 0b0a0908 0f0e0d0c\n",
        ),
    ],
)
def test_conversions(conversion, expression, expected):
    assert evaluate(expression, conversion) == expected


def test_unresolved_jiffies_without_hz():
    fmt = make('"%u", jiffies_to_msecs(REC->a)', "u32 a@8:4")
    assert show(fmt, b"\x03\0\0\0") == "(?jiffies_to_msecs(3))"


def test_symbols():
    class Table:
        def lookup(self, address: int) -> Symbolized | None:
            return Symbolized("fn", address - 0x1000, 0x40, "") if address >= 0x1000 else None

    fmt = make('"%pS %ps %s", REC->a, REC->a, __get_stacktrace(b)', "void * a@8:8",
               "__data_loc unsigned long[] b@16:4")  # fmt: skip
    data = struct.pack("<QII2Q", 0x1010, 24 | 16 << 16, 0, 1, 0x1004)
    assert show(fmt, data, Context(Table())) == "fn+0x10/0x40 fn STACK:\n=> fn+0x4/0x40\n"


def test_probe_arrays_of_strings():
    fmt = make('"{\\"%s\\",\\"%s\\"}", __get_str(n[0]), __get_str(n[1])',
               "__data_loc char[][2] n@8:8")  # fmt: skip
    assert show(fmt, struct.pack("<2I", 16 | 2 << 16, 18 | 2 << 16) + b"a\0b\0") == '{"a","b"}'


def test_fields_that_overlap_and_disorder():
    fmt = make('"%d %d %d", REC->b, REC->a, REC->c', "u16 a@8:2", "u8 b@9:1", "u8 c@8:1")
    assert show(fmt, b"\x01\x02") == "2 513 1"


def test_short_records_say_so_and_keep_the_rest():
    fmt = make('"a=%d b=%s c=%03d %s", REC->a, REC->b, REC->c, __get_str(d)', "int a@8:4:s",
               "char b[8]@12:8", "int c@20:4:s", "__data_loc char[] d@24:4")  # fmt: skip
    data = struct.pack("<i8siI", 5, b"x", 7, 28 | 3 << 16) + b"ok\0"
    whole = [show(fmt, data[:n]) for n in range(len(data) + 1)]
    assert whole[-1] == "a=5 b=x c=007 ok"
    assert whole[16] == f"a=5 b=x c=007 {TRUNCATED}"
    assert whole[12] == f"a=5 b=x c={TRUNCATED} {TRUNCATED}"
    assert whole[0] == f"a={TRUNCATED} b={TRUNCATED} c={TRUNCATED} {TRUNCATED}"


def test_fallback_lists_the_fields():
    fmt = make('"%d", (', "int a@8:4:s", "void * p@12:8", "char b[4]@20:4", "u16 h[2]@24:4",
               "__data_loc char[] d@28:4", "struct x s@32:3")  # fmt: skip
    with pytest.raises(FormatError):
        compile_print_fmt(fmt, Context())
    render = fallback(fmt, Context())
    data = struct.pack("<iQ4s2HI3s", -5, 0xABC, b"hey\0", 1, 2, 35 | 3 << 16, b"\1\2\3") + b"ok\0"
    assert render(HEADER + data) == (" a=-5 p=0xabc b=hey h={0x1,0x2} d=ok s={0x1,0x2,0x3}")
    assert render(b"").count(TRUNCATED) == 6
    assert fallback(make('""'), Context())(b"") == ""


@pytest.mark.parametrize(
    "print_fmt",
    ['"%d"', '"%n", REC->a', '"%d", (1', "REC->a", '"%s", __get_str()',
     '"%d", ' + "+".join(["REC->a"] * 500)],
)  # fmt: skip
def test_print_formats_of_no_use(print_fmt):
    with pytest.raises(FormatError):
        compile_print_fmt(make(print_fmt, "int a@8:4:s"), Context())


def test_shared_work_is_done_once():
    """Locals that use each other would double the work 60 times if they were pasted in."""
    steps = "".join(f"int x{i + 1} = x{i} + x{i}; " for i in range(60))
    assert evaluate(f"({{ int x0 = 1; {steps} x60; }})") == "0"
    nested = "REC->i"
    for _ in range(60):
        nested = f"({nested} ?: 1)"
    assert evaluate(nested) == "-1"


# Against the kernel's own text

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


@cache
def formats(boot: Path) -> dict[int, EventFormat]:
    found = {}
    for path in sorted((boot / "sys/kernel/tracing/events").glob("*/*/format")):
        fmt = parse_format(path.read_text(), path.parts[-3], str(path))
        found[fmt.id] = fmt
    return found


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
    [("same-boot-7.2", 5018, 4691), ("same-boot-wide-7.2", 101519, 97090)],
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


# Against GCC

GCC = shutil.which("gcc")
C_FIELDS = [("a", "signed char", "b"), ("b", "unsigned char", "B"), ("c", "short", "h"),
            ("d", "unsigned short", "H"), ("e", "int", "i"), ("f", "unsigned int", "I"),
            ("g", "long", "q"), ("h", "unsigned long", "Q")]  # fmt: skip
C_TYPES = ["char", "signed char", "u8", "s16", "u16", "int", "unsigned", "long", "u64", "bool"]
C_VALUES = [0, 1, 2, 7, 31, 255, 65535, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32]


def random_c(rng: random.Random, depth: int) -> str:
    def sub() -> str:
        return random_c(rng, depth - 1)

    pick = rng.random() if depth else 0.0
    if pick < 0.25:
        literal = f"{rng.choice(C_VALUES)}{rng.choice(['', 'U', 'L', 'UL'])}"
        return rng.choice([literal, *[f"REC->{name}" for name, _, _ in C_FIELDS]])
    if pick < 0.6:
        operators = ["+", "-", "*", "&", "|", "^", "==", "!=", "<", ">", "<=", ">=", "&&", "||"]
        return f"({sub()} {rng.choice(operators)} {sub()})"
    if pick < 0.68:
        return f"({sub()} {rng.choice(['<<', '>>'])} {rng.randrange(31)})"
    if pick < 0.75:
        return f"({sub()} {rng.choice('/%')} {rng.choice(C_VALUES) | 1})"
    if pick < 0.85:
        return f"({rng.choice(C_TYPES)})({sub()})"
    if pick < 0.93:
        return f"{rng.choice('~!-+')}({sub()})"
    return f"({sub()} ? {sub()} : {sub()})"


@pytest.mark.skipif(GCC is None, reason="no gcc")
def test_random_expressions_as_gcc_computes_them(tmp_path):
    rng = random.Random(7)
    expressions = [random_c(rng, 4) for _ in range(300)]
    code = "<" + "".join(code for _, _, code in C_FIELDS)
    values = [tuple(struct.unpack(code, rng.randbytes(struct.calcsize(code)))) for _ in range(4)]
    source = [
        "#include <stdio.h>\n#include <stdbool.h>\ntypedef unsigned char u8; typedef short s16;",
        "typedef unsigned short u16; typedef unsigned long u64; struct R {",
        *[f"{type_} {name};" for name, type_, _ in C_FIELDS], "};",
        *[f'static void f{i}(struct R *REC) {{ printf("%lx %d\\n", (unsigned long)({e}), '
          f"(int)sizeof({e})); }}" for i, e in enumerate(expressions)],
        "int main() {",
    ]  # fmt: skip
    for row in values:
        source.append(
            f"{{ struct R r = {{ {', '.join(f'{v:#x}UL' if v >= 0 else f'{v}L' for v in row)} }};"
        )
        source += [f"f{i}(&r);" for i in range(len(expressions))] + ["}"]
    (tmp_path / "t.c").write_text("\n".join([*source, "}\n"]))
    flags = ["-O0", "-fwrapv", "-funsigned-char", "-w"]
    subprocess.run([GCC, *flags, "t.c", "-o", "t"], cwd=tmp_path, check=True)
    expected = subprocess.run([tmp_path / "t"], capture_output=True, text=True, check=True).stdout
    offsets, at = [], 8
    for name, type_, c in C_FIELDS:
        size = struct.calcsize(c)
        offsets.append(f"{type_} {name}@{at}:{size}{':s' * c.islower()}")
        at += size
    got = []
    renderers = [
        compile_print_fmt(
            make(f'"%lx %d", (unsigned long)({e}), (int)sizeof({e})', *offsets), Context()
        )
        for e in expressions
    ]
    for row in values:
        payload = HEADER + struct.pack(code, *row)
        got += [render(payload) for render in renderers]
    assert got == expected.splitlines()


# Against hostile input


@pytest.fixture(scope="module")
def real(capture) -> list[EventFormat]:
    return list(formats(capture("same-boot-7.2") / "old").values())


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_hostile_records_never_raise(real, data):
    fmt = data.draw(st.sampled_from(real))
    payload = data.draw(st.binary(max_size=300))
    for render in (compile_print_fmt(fmt, Context()), fallback(fmt, Context())):
        assert isinstance(render(payload), str)


HOSTILE = st.sampled_from(
    ["%d", "%s", "%*d", "%.*s", "%pI6c", "%*pbl", "%", "(", ")", "{", "}", ",", '"', "REC->",
     "REC", "__get_str(", "__print_flags(", "__print_array(", "[9999999]", "[-1]", "*", "&", "/ 0",
     "% 0", "<< 999", "?", ":", "(u64)", "(char *)", "sizeof", "0xffffffffffffffff", "({", "})",
     "\\", "\n", "-1", "typeof("]
)  # fmt: skip


@settings(max_examples=600, deadline=None)
@given(st.data())
def test_hostile_formats_raise_only_format_error(real, data):
    fmt = data.draw(st.sampled_from(real))
    text = fmt.print_fmt[:2000]
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        cut = data.draw(st.integers(0, 12))
        text = text[:at] + data.draw(HOSTILE) + text[at + cut :]
    broken = EventFormat(fmt.system, fmt.name, fmt.id, fmt.common, fmt.fields, text)
    try:
        render = compile_print_fmt(broken, Context())
    except FormatError:
        return
    for payload in (b"", bytes(64), data.draw(st.binary(max_size=120))):
        assert isinstance(render(payload), str)
