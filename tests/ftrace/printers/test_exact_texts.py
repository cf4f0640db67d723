"""Kinds of events whose text is not what their print format says, or that formats make hard."""

from __future__ import annotations

import struct

import pytest

from tests.support.text_records import ALPHA, CTX, HEADER, Names, make
from tracekit.ftrace.context import Context
from tracekit.ftrace.format import parse_format
from tracekit.ftrace.printers.render import make_renderer

KMALLOC = make(
    '"flags=%s", (REC->gfp_flags) ? __print_flags(REC->gfp_flags, "|", {0xcc0, "GFP_KERNEL"}, '
    '{0x100, "__GFP_ZERO"}) : "none"',
    "unsigned long gfp_flags@8:8",
    system="kmem",
)


def text(
    print_fmt: str, fields: list[str], data: bytes, ctx: Context = CTX, system: str = "test"
) -> str:
    renderer = make_renderer(make(print_fmt, *fields, system=system), ctx)
    assert renderer.prefix in ("event: ", "event:") and renderer.suffix == ""
    return (renderer.prefix + renderer.render(HEADER + data)).removeprefix("event: ")


# -- print formats ----------------------------------------------------------------------------

STRING = ["int n@8:4:s", "__data_loc char[] name@12:4"]


@pytest.mark.parametrize(
    ("argument", "size", "expected"),
    [
        ("REC->n ? __get_str(name) : ((void *)0)", 3, "foo"),
        ("REC->n ? __get_str(name) : ((void *)0)", 0, ""),  # "(null)" cut to nothing
        ('REC->n ? __get_str(name) : "(none)"', 0, ""),
        ("REC->n ? NULL : __get_str(name)", 3, "(nu"),
        ("REC->n ? __get_str(name) : ((void *)0)", -1, ""),  # as 0
        ("REC->n ? (REC->n > 2 ? __get_str(name) : NULL) : NULL", 3, "foo"),
    ],
)
def test_conditions_over_strings_with_a_size(argument: str, size: int, expected: str) -> None:
    data = struct.pack("<iI", size, 16 | 7 << 16) + b"foobar\0"
    assert text(f'"<%.*s>", REC->n, {argument}', STRING, data) == f"<{expected}>"


def test_a_null_pointer_as_a_string() -> None:
    data = struct.pack("<iI", 0, 16 | 7 << 16) + b"foobar\0"
    assert text('"%s", REC->n ? __get_str(name) : NULL', STRING, data) == "(null)"


@pytest.mark.parametrize("declared", ["char[] text", "char text[]"])
def test_a_relative_string_either_way(declared: str) -> None:
    """``f_show()`` writes the brackets of ``__rel_loc`` fields behind the name."""
    data = struct.pack("<I", 5 << 16) + b"Test\0"
    fields = [f"__rel_loc {declared}@8:4:s"]
    assert text('"text=%s", __get_rel_str(text)', fields, data) == "text=Test"


def test_only_what_is_beyond_the_grammar_is_marked() -> None:
    print_fmt = (
        '"%s %s", ({ switch (REC->a) { default: ; } "x"; }), REC->created ? "new" : "existing"'
    )
    data = struct.pack("<IB", 1, 1)
    assert text(print_fmt, ["u32 a@8:4", "bool created@12:1"], data) == "(?expression) new"


def test_a_format_that_is_of_no_use_shows_fields_after_one_space() -> None:
    renderer = make_renderer(make('"%d', "u32 a@8:4"), CTX)
    assert renderer.prefix + renderer.render(HEADER + bytes([7, 0, 0, 0])) == "event: a=7"


def test_labels_of_the_kernel_are_addresses() -> None:
    data = struct.pack("<i", 0x40)
    print_fmt = '"%pS %d", (void *)((unsigned long)(alpha) + REC->o), jiffies'
    assert text(print_fmt, ["s32 o@8:4:s"], data) == "alpha+0x40/0x100 (?jiffies)"


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("__le16_to_cpup((__le16 *)__get_dynamic_array(f))", "201"),
        ("__be16_to_cpup((__be16 *)__get_dynamic_array(f))", "102"),
        ("le32_to_cpup((__le32 *)__get_dynamic_array(f))", "4030201"),
        ("get_unaligned_be32(__get_dynamic_array(f))", "1020304"),
        ("get_unaligned_le64(__get_dynamic_array(f))", "807060504030201"),
        ("__swab32(REC->n)", "4030201"),
        ("__cpu_to_be16((u16)REC->n)", "403"),
        ("__be32_to_cpu(REC->n)", "4030201"),
        ("__le32_to_cpu(REC->n)", "1020304"),
        ("pmd_val(native_make_pmd(REC->n))", "1020304"),
    ],
)
def test_byte_order(call: str, expected: str) -> None:
    data = struct.pack("<II", 0x01020304, 16 | 8 << 16) + bytes(range(1, 9))
    fields = ["u32 n@8:4", "__data_loc u8[] f@12:4"]
    assert text(f'"%llx", (u64){call}', fields, data) == expected


def test_a_pointer_beyond_the_record() -> None:
    data = struct.pack("<II", 0, 16 | 1 << 16) + b"\1"
    fields = ["u32 n@8:4", "__data_loc u8[] f@12:4"]
    print_fmt = '"%d", __le16_to_cpup((__le16 *)__get_dynamic_array(f))'
    assert text(print_fmt, fields, data) == "(truncated)"


def test_two_fields_of_one_name() -> None:
    """In C the string is ``__data_loc_type``: each is found by how it is used."""
    data = struct.pack("<Ii", 16 | 5 << 16, 9) + b"hard\0"
    fields = ["__data_loc char[] type@8:4", "int type@12:4:s"]
    assert text('"type=%s (%d)", __get_str(type), REC->type', fields, data) == "type=hard (9)"
    names = [f.name for f in make('""', *fields, "int type@16:4:s", "int type_2@20:4:s").fields]
    assert names == ["type", "type_3", "type_4", "type_2"]
    assert names[0] == "type"


def test_many_fields_of_one_name_take_no_longer() -> None:
    line = "\tfield:int x;\toffset:8;\tsize:4;\tsigned:1;\n"
    fmt = parse_format("name: e\nID: 7\nformat:\n\n" + line * 20_000, "test", "test")
    assert len({f.name for f in fmt.fields}) == 20_000


@pytest.mark.parametrize(("options", "expected"), [((), "00000000,0000000f"),
                                                   (("bitmask-list",), "0-3")])  # fmt: skip
def test_bitmasks(options: tuple[str, ...], expected: str) -> None:
    data = struct.pack("<I", 12 | 8 << 16) + bytes([15]) + bytes(7)
    ctx = Context(options=frozenset(options))
    fields = ["__data_loc cpumask_t[] mask@8:4"]
    assert text('"%s", __get_cpumask(mask)', fields, data, ctx) == expected


@pytest.mark.parametrize(
    ("value", "flags", "symbolic"),
    [(2, "TWO", "TWO"), (1, "(?0x1)", "(?0x1)"), (3, "TWO|(?0x1)", "(?0x3)"), (0, "", "(?0x0)")],
)
def test_a_value_that_an_unknown_name_may_have(value: int, flags: str, symbolic: str) -> None:
    table = '{ (1 << SOME_ENUM), "ONE" }, { 2, "TWO" }'
    print_fmt = f'"%s", __print_flags(REC->v, "|", {table})'
    data = struct.pack("<Q", value)
    assert text(print_fmt, ["unsigned long v@8:8"], data) == flags
    print_fmt = f'"%s", __print_symbolic(REC->v, {table})'
    assert text(print_fmt, ["unsigned long v@8:8"], data) == symbolic


def test_a_table_that_is_known_whole_marks_nothing() -> None:
    print_fmt = '"%s", __print_symbolic(REC->v, { 2, "TWO" }, { -1, NULL })'
    assert text(print_fmt, ["u64 v@8:8"], struct.pack("<Q", 7)) == "0x7"


# -- synthetic events -------------------------------------------------------------------------


def test_a_synthetic_event() -> None:
    """Fields with a space between; dynamic and fixed strings; a byte never shows its sign."""
    fields = [
        "u64 lat@8:8", "pid_t pid@16:4:s", "char comm[]@24:16:s", "s8 small@40:1:s",
        "__data_loc char[] what@48:8:s",
    ]  # fmt: skip
    data = struct.pack("<Qi4x16sb7xI4x", 1234, -7, b"bash", -1, 56 | 4 << 16) + b"any\0"
    print_fmt = '"lat=%llu, pid=%d, comm=%s, small=%d, what=%s", REC->lat, REC->pid'
    assert text(print_fmt, fields, data, system="synthetic") == (
        "lat=1234 pid=-7 comm=bash small=255 what=any"
    )


@pytest.mark.parametrize(
    ("ctx", "names"),
    [
        (Context(gfp_format=KMALLOC), "GFP_KERNEL|__GFP_ZERO|0x2"),
        (Context(), "?0xdc2"),  # no event whose format has the names
    ],
)
def test_gfp_flags_of_a_synthetic_event(ctx: Context, names: str) -> None:
    data = struct.pack("<I4xQ", 0xDC2, 5)
    fields = ["gfp_t gfp@8:4", "u64 n@16:8"]
    shown = text('"gfp=%x, n=%llu", REC->gfp, REC->n', fields, data, ctx, "synthetic")
    assert shown == f"gfp=dc2  ({names})n=5"


def test_the_stack_of_a_synthetic_event() -> None:
    data = struct.pack("<I4x", 16 | 24 << 16) + struct.pack("<QQQ", 2, ALPHA + 4, 0)
    fields = ["__data_loc unsigned long[] stack@8:8"]
    assert text('"stack=%s"', fields, data, system="synthetic") == (
        "stack=STACK:\n=> alpha+0x4/0x100\n"
    )


# -- field by field ---------------------------------------------------------------------------

USER = [
    "u32 count@8:4", "u8 level@12:1", "u8 low@13:1", "u16 h@14:2", "s64 big@16:8:s",
    "char fixed[4]@24:4", "__rel_loc char[] said@28:4", "__data_loc u8[] bytes@32:4",
    "struct pt two@36:12",
]  # fmt: skip
RECORD = (
    struct.pack("<IBBHq4sIII8x", 7, 65, 3, 0xFFFF, -1, b"abcd", 16 | 3 << 16, 51 | 2 << 16, 0)
    + b"hi\0\x01\xff"
)
SHOWN = (
    "count=0x7 (7) level='A'(65) low=(3) h=0xffff (65535) big=0xffffffffffffffff (-1) "
    "fixed=abcd said=hi bytes=01,ff two=<INVALID-SIZE>"
)


@pytest.mark.parametrize("system", ["user_events", "user_events_1f2"])
def test_user_events(system: str) -> None:
    assert text('"count=%u"', USER, RECORD, system=system) == SHOWN


def test_any_event_with_the_option() -> None:
    ctx = Context(Names(), options=frozenset({"fields"}))
    assert text('"count=%u", REC->count', USER, RECORD, ctx) == SHOWN
    data = struct.pack("<QQ", ALPHA, ALPHA + 4)
    fields = ["unsigned long ip@8:8", "unsigned long parent_ip@16:8"]
    shown = text('""', fields, data, ctx, "ftrace")
    assert shown == "ip=alpha+0x0/0x100 parent_ip=alpha+0x4/0x100"


def test_fields_beyond_the_record() -> None:
    assert text('""', USER[:2], RECORD[:4], system="user_events") == (
        "count=0x7 (7) level=<OVERFLOW>"
    )
    fields = ["__data_loc char[] said@8:4"]
    data = struct.pack("<I", 12 | 9 << 16) + b"short"
    assert text('""', fields, data, system="user_events") == "said=<OVERFLOW>"


# -- eprobes ----------------------------------------------------------------------------------


def test_an_eprobe() -> None:
    fields = ["u64 prev@8:8", "__data_loc char[] comm@16:4:s"]
    data = struct.pack("<QI", 0x2A, 20 | 5 << 16) + b"bash\0"
    print_fmt = '" prev=0x%Lx comm=\\"%s\\"", REC->prev, __get_str(comm)'
    ctx = Context(eprobes={"eps/event": "sched.sched_switch"})
    assert text(print_fmt, fields, data, ctx, "eps") == '(sched.sched_switch) prev=0x2a comm="bash"'
