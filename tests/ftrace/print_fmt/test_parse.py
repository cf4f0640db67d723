"""The parser of print formats: grammar, and that hostile text ends in FormatError, soon."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracekit.errors import FormatError
from tracekit.ftrace.kernel_printf.ctype import INT, LONG, U32, U64, TypeName
from tracekit.ftrace.print_fmt.nodes import (
    Binary,
    Braces,
    Call,
    Cast,
    Cond,
    Ident,
    Index,
    Let,
    Member,
    Num,
    SizeofExpr,
    SizeofType,
    Str,
    TypeOf,
    Unary,
)
from tracekit.ftrace.print_fmt.parse import parse_expression
from tracekit.ftrace.print_fmt.split import parse_print_fmt

REC = Ident("REC")


def field(name: str) -> Member:
    return Member(REC, name)


@pytest.mark.parametrize(
    ("text", "value", "type_"),
    [
        ("0", 0, INT),
        ("2147483647", 2147483647, INT),
        ("2147483648", 2147483648, LONG),
        ("0x80000000", 0x80000000, U32),
        ("0xffffffffffffffff", (1 << 64) - 1, U64),
        ("1U", 1, U32),
        ("1UL", 1, U64),
        ("1ULL", 1, U64),
        ("4294967296U", 1 << 32, U64),
        ("017", 15, INT),
        ("'A'", 65, INT),
        (r"'\n'", 10, INT),
        (r"'\x1b'", 27, INT),
        (r"'\0'", 0, INT),
    ],
)
def test_constants(text, value, type_):
    assert parse_expression(text) == Num(value, type_)


@pytest.mark.parametrize(
    ("text", "node"),
    [
        ("REC->x", field("x")),
        ("(REC)->x", field("x")),
        ("REC->ent.pid", Member(field("ent"), "pid")),
        ("REC->caller[0]", Index(field("caller"), Num(0, INT))),
        ("(void *)REC->ip", Cast(TypeName(("void",), 1), field("ip"))),
        ("(const struct page *)REC->ip", Cast(TypeName(("struct", "page"), 1), field("ip"))),
        ("(unsigned long)-1", Cast(TypeName(("unsigned", "long")), Unary("-", Num(1, INT)))),
        ("(unheard_of_t)REC->x", Cast(TypeName(("unheard_of_t",)), field("x"))),
        ("(void __user *)REC->x", Cast(TypeName(("void",), 1), field("x"))),
        ("(void __attribute__((noderef)) *)REC->x", Cast(TypeName(("void",), 1), field("x"))),
        ("(jiffies - 1)", Binary("-", Ident("jiffies"), Num(1, INT))),
        ("(jiffies) - 1", Binary("-", Ident("jiffies"), Num(1, INT))),
        ("sizeof(u64)", SizeofType(TypeName(("u64",)))),
        ("sizeof(REC->x)", SizeofExpr(field("x"))),
        ("sizeof(struct { int:(-!!(1 > 2)); })", Num(0, U64)),
        ("(typeof(REC->x))1", Cast(TypeOf(field("x")), Num(1, INT))),
        ("(typeof(unsigned long))1", Cast(TypeName(("unsigned", "long")), Num(1, INT))),
        ("__get_str(name)", Call("__get_str", (Ident("name"),))),
        ("a ? b : c ? d : e", Cond(Ident("a"), Ident("b"), Cond(*map(Ident, "cde")))),
        ('f(x, { 1, "a" },)', Call("f", (Ident("x"), Braces((Num(1, INT), Str("a")))))),
        ('"a" "b\\n"', Str("ab\n")),
        ("a ?: b", Let((("?:", None, Ident("a")),), Cond(Ident("?:"), Ident("?:"), Ident("b")))),
        (
            "({ const int __x = (a); do { if (!(1)) fail(); } while (0); __x; })",
            Let((("__x", TypeName(("int",)), Ident("a")),), Ident("__x")),
        ),
        (
            '({ __auto_type __x = (a); (void)__x; _Static_assert(1, ""); __x; })',
            Let((("__x", None, Ident("a")),), Ident("__x")),
        ),
    ],
)
def test_expressions(text, node):
    assert parse_expression(text) == node


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("a + b * c", "a + (b * c)"),
        ("a - b - c", "(a - b) - c"),
        ("a << b + c", "a << (b + c)"),
        ("a & b == c", "a & (b == c)"),
        ("a | b ^ c & d", "a | (b ^ (c & d))"),
        ("a && b || c && d", "(a && b) || (c && d)"),
        ("a < b == c > d", "(a < b) == (c > d)"),
        ("!a + ~b", "(!a) + (~b)"),
        ("(int)a + b", "((int)(a)) + b"),
        ("-a->b[1]", "-((a->b)[1])"),
    ],
)
def test_precedence(text, same):
    assert parse_expression(text) == parse_expression(same)


def test_print_fmt_parts():
    text, args = parse_print_fmt('"a=%d \\"%s\\"" "\\n", REC->a , __get_str(b)', "t")
    assert text == 'a=%d "%s"\n'
    assert args == (field("a"), Call("__get_str", (Ident("b"),)))


def test_bare_quotes_inside_the_format_string():
    """As ``afs:*`` have them: TP_printk() pastes the string unescaped."""
    text, args = parse_print_fmt('"c=%08x "%s" "%s"", REC->call, REC->a, "x"', "t")
    assert text == 'c=%08x "%s" "%s"'
    assert args == (field("call"), field("a"), Str("x"))


@pytest.mark.parametrize(
    "beyond", ["_Generic((x), int: 1)", "0x1ffffffffffffffff", "09", "a b", "x = 1", "REC->a[]"]
)
def test_an_argument_beyond_the_grammar_costs_only_itself(beyond):
    with pytest.raises(FormatError):
        parse_expression(beyond)
    text, args = parse_print_fmt(f'"%d %d %d", REC->a, {beyond}, 3', "t")
    assert text == "%d %d %d"
    assert args == (field("a"), Ident("expression"), Num(3, INT))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "REC->a",
        '"%d" REC->a',
        '"%d", (REC->a',
        '"%d", REC->a)',
        '"unterminated',
        '"%d", @',
        '"x", ' + "(" * 5000 + "1" + ")" * 5000 + "]",
        '"x", sizeof(struct { int a; })]',
        "x" * (1 << 19),
    ],
)
def test_nonsense_is_a_format_error(text):
    with pytest.raises(FormatError):
        parse_print_fmt(text, "t")


@pytest.mark.parametrize(
    "unit",
    [
        "(",
        "((typeof(",
        "(typeof(typeof(",
        "(int)(",
        "a ?: (",
        "({ int x = ",
        "sizeof(",
        "f({",
        "a ? ",
        "- ",
        "!(a)(",
        "__attribute__((",
        "REC->a[",
        "({ do {",
    ],
)
def test_deep_nesting_is_refused(unit):
    for text in (unit * 3000, f'"%d", {unit * 3000}'):
        with pytest.raises(FormatError):
            parse_expression(text)
        with suppress(FormatError):
            parse_print_fmt(text, "t")


C_TEXT = (
    "( ) [ ] { } , ; : ? = == -> . + - * / % & | ^ ~ ! << >> && || < > REC->a REC REC-> sizeof "
    'typeof __auto_type int unsigned long struct do while "x" "%s" \' " \\ 1 0x1f 2UL \'a\' f( '
    "({ }) __attribute__(( jiffies #"
)
C_PIECES = st.sampled_from(C_TEXT.split())


@settings(max_examples=400, deadline=None)
@given(st.lists(C_PIECES, max_size=60).map(" ".join))
def test_random_c_raises_nothing_else(text):
    for parse in (parse_expression, lambda t: parse_print_fmt(f'"%d", {t}', "t")):
        with suppress(FormatError):
            parse(text)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200))
def test_random_text_raises_nothing_else(text):
    with suppress(FormatError):
        parse_print_fmt(text, "t")
