"""Expressions, by hand and as GCC computes them."""

from __future__ import annotations

import random
import shutil
import struct
import subprocess

import pytest

from tests.support.text_records import HEADER, evaluate, make
from tracekit.ftrace.context import Context
from tracekit.ftrace.print_fmt.printer import TRUNCATED, compile_print_fmt

EXPRESSIONS = [
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
]


@pytest.mark.parametrize(("expression", "expected"), EXPRESSIONS)
def test_expressions(expression, expected):
    assert evaluate(expression) == expected


def test_constants_of_the_caller():
    assert evaluate("MINE | 1", MINE=4) == "5"


def test_shared_work_is_done_once():
    """Locals that use each other would double the work 60 times if they were pasted in."""
    steps = "".join(f"int x{i + 1} = x{i} + x{i}; " for i in range(60))
    assert evaluate(f"({{ int x0 = 1; {steps} x60; }})") == "0"
    nested = "REC->i"
    for _ in range(60):
        nested = f"({nested} ?: 1)"
    assert evaluate(nested) == "-1"


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
