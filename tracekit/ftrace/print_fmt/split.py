"""Splits a ``print fmt`` line into its format string and its arguments."""

from __future__ import annotations

import re
from itertools import islice

from tracekit.errors import FormatError
from tracekit.ftrace.kernel_printf.vsprintf import parse_format_string
from tracekit.ftrace.print_fmt.nodes import Node
from tracekit.ftrace.print_fmt.parse import parse_arguments, parse_call
from tracekit.ftrace.print_fmt.tokens import unescape

__all__ = ["parse_print_fmt"]

_MAX_STRING_ENDS = 32  # candidates tried when a format string holds bare quotes
_MAX_TRIED = 1 << 18  # characters of all of them: fewer are tried of a longer text
_STRING_END = re.compile(r'"(?=\s*(?:,|$))')


def _taken(template: str, source: str) -> int:
    """How many arguments the conversions of a format string take."""
    parts = parse_format_string(template, source)
    return sum(part.stars + 1 for part in parts if not isinstance(part, str))


def parse_print_fmt(text: str, source: str) -> tuple[str, tuple[Node, ...]]:
    """Split a print format into its format string and its arguments.

    ``TP_printk()`` pastes the format string unescaped between quotes (``stage7_class_define.h``),
    so one that contains quotes (``afs:*``) comes out as ``"name "%s"", …``: where plain C fails,
    every quote that could end the string is tried, and taken if as many arguments follow as its
    conversions take. If that fails too, an argument outside this grammar becomes the name
    ``expression``, which nothing resolves.
    Raises :class:`~tracekit.errors.FormatError`.
    """
    try:
        return parse_call(text, source)
    except FormatError:
        if not text.startswith('"'):
            raise
    most = min(_MAX_STRING_ENDS, _MAX_TRIED // len(text))
    for m in islice(_STRING_END.finditer(text, 1), most):
        try:
            template = unescape(text[1 : m.start()])
            args = parse_arguments(text[m.end() :], source)
            if _taken(template, source) <= len(args):
                return template, args
        except FormatError:
            continue
    return parse_call(text, source, lenient=True)
