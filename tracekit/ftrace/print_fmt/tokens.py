"""Splits the C of ``print fmt`` lines into tokens and evaluates constants."""

from __future__ import annotations

import re
from typing import NamedTuple

from tracekit.errors import FormatError
from tracekit.ftrace.kernel_printf.ctype import INT, LONG, U32, U64, IntType
from tracekit.ftrace.print_fmt.nodes import Num

__all__ = ["Token", "closing", "number", "tokenize", "unescape"]

_MAX_TEXT = 1 << 18  # characters; the longest in the kernels of the lab has 4,870

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<num>0[xX][0-9a-fA-F]+[uUlL]*|[0-9]+[uUlL]*)(?![\w.])
    | (?P<id>[A-Za-z_]\w*)
    | (?P<str>"(?:\\.|[^"\\])*")
    | (?P<chr>'(?:\\.[0-7a-fA-F]{0,2}|[^'\\])')
    | (?P<op>->|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^~!<>?:()\[\]{},.;=])
    | (?P<end>$)
    )""",
    re.X | re.S | re.A,
)
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{1,2}|[0-7]{1,3}|.)", re.S)
_ESCAPES = {
    "n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "e": "\x1b",
}  # fmt: skip
_ATTRIBUTES = frozenset({"__attribute__", "__attribute"})
_OPENERS, _CLOSERS = frozenset({"(", "[", "{"}), frozenset({")", "]", "}"})


class Token(NamedTuple):
    """A token: ``kind`` is num, id, str, chr, op or end; ``at`` its offset in the text."""

    kind: str
    text: str
    at: int


def unescape(text: str) -> str:
    """The text of a string or character constant, escapes replaced."""
    if "\\" not in text:
        return text

    def one(m: re.Match[str]) -> str:
        code = m[1]
        if code[0] == "x" and len(code) > 1:
            return chr(int(code[1:], 16))
        if code[0] in "01234567":
            return chr(int(code, 8) & 0xFF)
        return _ESCAPES.get(code, code)

    return _ESCAPE.sub(one, text)


def tokenize(text: str, source: str) -> list[Token]:
    """Split ``text`` into tokens; the last is ``end``. GCC attributes are left out.

    Raises :class:`~tracekit.errors.FormatError`.
    """
    if len(text) > _MAX_TEXT:
        raise FormatError(f"{source}: print fmt of {len(text)} characters")
    out: list[Token] = []
    position = 0
    while True:
        m = _TOKEN.match(text, position)
        if m is None:
            raise FormatError(f"{source}: print fmt: not C at {text[position : position + 40]!r}")
        kind = m.lastgroup or "end"
        out.append(Token(kind, m[kind], m.start(kind)))
        if kind == "end":
            return _without_attributes(out, source)
        position = m.end()


def _without_attributes(tokens: list[Token], source: str) -> list[Token]:
    """Leave out ``__attribute__((…))``, which user and per-CPU pointers carry in their casts."""
    out: list[Token] = []
    index = 0
    while index < len(tokens):
        if tokens[index].text in _ATTRIBUTES and tokens[index].kind == "id":
            end = closing(tokens, index + 1) if tokens[index + 1].text == "(" else None
            if end is None:
                raise FormatError(f"{source}: print fmt: an attribute without end")
            index = end + 1
            continue
        out.append(tokens[index])
        index += 1
    return out


def number(text: str) -> Num:
    """An integer constant with its type: the first on C's list for it that holds the value."""
    digits = text.rstrip("uUlL")
    suffix = text[len(digits) :].lower()
    decimal = digits[0] != "0"
    if digits[:2] in ("0x", "0X"):
        value = int(digits, 16)
    elif decimal or digits == "0":
        value = int(digits) if len(digits) < 24 else 1 << 64
    else:
        value = int(digits, 8) if not set(digits) & {"8", "9"} else 1 << 64
    if value >> 64:
        raise FormatError(f"print fmt: not an integer of 64 bits: {text[:40]!r}")
    candidates: list[IntType] = []
    if "l" not in suffix:
        candidates += [U32] if "u" in suffix else [INT] if decimal else [INT, U32]
    candidates += [U64] if "u" in suffix else [LONG] if decimal else [LONG, U64]
    for type_ in candidates:
        if value < 1 << (8 * type_.size - type_.signed):
            return Num(value, type_)
    return Num(value, U64)


def closing(tokens: list[Token], at: int) -> int | None:
    """The index of the bracket that closes the one at index ``at``, or None."""
    nesting = 0
    for index in range(at, len(tokens)):
        text = tokens[index].text if tokens[index].kind == "op" else ""
        nesting += (text in _OPENERS) - (text in _CLOSERS)
        if nesting == 0:
            return index
    return None
