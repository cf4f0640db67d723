"""Filter expressions: ``event ~ sched_* and prev_comm = kexec and not cpu in (0, 1)``.

::

    expr   := and ("or" and)*            and  := term ("and" term)*
    term   := "not" term | "(" expr ")" | comparison | TEXT
    comparison := NAME ("=" | "==" | "!=" | "<" | "<=" | ">" | ">=" | "~" | "!~") VALUE
                | NAME ["not"] "in" "(" [VALUE ("," VALUE)*] ")"

``NAME`` is a column or an argument of any event; ``args.NAME`` is the argument where both are
called so. ``~`` compares with a glob, or with a ``/regular expression/``. A ``TEXT`` alone is
searched in the task's name, the event and the rendered arguments, ignoring case. A comparison
with an argument that an event does not have is false, ``!=`` too. ``ts`` is compared with a time
from the jump, or with a date: ``ts >= 2026-11-28T20:38:25Z``. :mod:`.match` evaluates.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NoReturn

from tracekit.errors import UsageError
from tracekit.timeline.filter import parse_time
from tracekit.timeline.when.dates import parse_date

__all__ = [
    "ARGUMENT", "COLUMNS", "NUMBERS", "AllOf", "AnyOf", "Compare", "Contains", "Expr", "Not",
    "QueryError", "Value", "column_of", "comparisons", "is_date", "joined", "parse",
    "parse_number", "terms",
]  # fmt: skip

#: The columns; ``_ALIASES`` has other names for some.
COLUMNS = ("ts", "boot", "cpu", "pid", "comm", "event", "system", "source", "flags", "preempt",
           "raw", "args")  # fmt: skip
#: Those of them that are numbers.
NUMBERS = frozenset(("ts", "boot", "cpu", "pid", "flags", "preempt", "raw"))
#: The prefix of an argument whose name is also a column's.
ARGUMENT = "args."
_ALIASES = {"ts_ns": "ts", "ts_raw": "raw", "task": "comm"}
_KEYWORDS = frozenset(("and", "or", "not", "in"))
_LONGEST = 10_000  # characters of an expression
_DEEPEST = 40  # levels of nested parentheses and ``not``
_SPACE = re.compile(r"\s*")
_WORD = re.compile(r"""[^\s()",'=!<>~]+""")
_OPERATOR = re.compile(r"==|=|!=|!~|~|<=|<|>=|>")
_VALUE = re.compile(r"""[^\s()",']+""")
_QUOTED = re.compile(r""""((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'""", re.S)
_REGEX = re.compile(r"/((?:[^/\\]|\\.)+)/(?=[\s),]|$)", re.S)
_NUMBER = re.compile(
    r"[-+]?(?:0[xX][0-9a-fA-F]{1,16}|[0-9]{1,20}|[0-9]{1,12}(?:\.[0-9]{1,9})?(?:ns|us|µs|ms|s))"
)


class QueryError(UsageError):
    """An invalid expression: ``what`` says what is wrong at ``text[start:end]``."""

    def __init__(self, text: str, start: int, end: int, what: str) -> None:
        # one cell a character, so that the line below points at the right one
        shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
        caret = " " * start + "^" + "~" * (end - start - 1)
        super().__init__(f"{what}\n  {shown}\n  {caret}")
        self.text, self.start, self.end, self.what = text, start, end, what


def parse_number(text: str) -> int | None:
    """``12``, ``-3``, ``0x1f``, ``-5ms`` (in ns) as a number; None if it is not one."""
    if not _NUMBER.fullmatch(text):
        return None
    if text[-1] == "s":
        return parse_time(text)
    return int(text, 16 if "x" in text.lower() else 10)


@dataclass(frozen=True, slots=True)
class Value:
    """A value to compare with. ``number``: the text as a number, if it is one and not quoted."""

    text: str
    number: int | None = None
    is_regex: bool = False
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)

    @classmethod
    def of(cls, value: int | str) -> Value:
        """That number, or exactly that text."""
        return cls(str(value), value) if isinstance(value, int) else cls(value)

    def __str__(self) -> str:
        if self.is_regex:
            return f"/{self.text}/"
        if (
            _VALUE.fullmatch(self.text)
            and self.text[0] != "/"
            and parse_number(self.text) == self.number
        ):
            return self.text
        return _quoted(self.text)


@dataclass(frozen=True, slots=True)
class Compare:
    """``name op values``; exactly one value unless ``op`` is ``in`` or ``not in``."""

    name: str
    op: str
    values: tuple[Value, ...]
    start: int = field(default=0, compare=False)

    def __str__(self) -> str:
        if self.op.endswith("in"):
            return f"{self.name} {self.op} ({', '.join(map(str, self.values))})"
        return f"{self.name} {self.op} {self.values[0]}"


@dataclass(frozen=True, slots=True)
class Contains:
    """A text in the task's name, the event or the rendered arguments, ignoring case."""

    text: str

    def __str__(self) -> str:
        plain = _WORD.fullmatch(self.text) and self.text.lower() not in _KEYWORDS
        return self.text if plain else _quoted(self.text)


@dataclass(frozen=True, slots=True)
class Not:
    """Events that do not meet ``term``."""

    term: Expr

    def __str__(self) -> str:
        return f"not {_enclosed(self.term)}"


@dataclass(frozen=True, slots=True)
class AllOf:
    """Events that meet all of ``terms``; every event if there are none."""

    terms: tuple[Expr, ...] = ()

    def __str__(self) -> str:
        return " and ".join(map(_enclosed, self.terms))


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Events that meet at least one of ``terms`` (two or more)."""

    terms: tuple[Expr, ...]

    def __str__(self) -> str:
        return " or ".join(map(_enclosed, self.terms))


Expr = Compare | Contains | Not | AllOf | AnyOf


def _enclosed(expr: Expr) -> str:
    return f"({expr})" if isinstance(expr, AllOf | AnyOf) else str(expr)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def column_of(name: str) -> str | None:
    """The column that ``name`` or an alias means; None if it can only be an argument."""
    name = _ALIASES.get(name, name)
    return name if name in COLUMNS else None


def is_date(name: str, value: Value) -> bool:
    """Whether a value that is no number is a date, and ``name`` the column of times."""
    timed = column_of(name) == "ts" and not value.is_regex
    return timed and value.number is None and parse_date(value.text) is not None


def terms(expr: Expr) -> tuple[Expr, ...]:
    """The conditions that must all be met."""
    return expr.terms if isinstance(expr, AllOf) else (expr,)


def joined(parts: tuple[Expr, ...]) -> Expr:
    """The conjunction of ``parts``, flattened."""
    flat = tuple(term for part in parts for term in terms(part))
    return flat[0] if len(flat) == 1 else AllOf(flat)


class _Parser:
    def __init__(self, text: str) -> None:
        self._text, self._position, self._depth = text, 0, 0
        self._skip()

    def whole(self) -> Expr:
        if len(self._text) > _LONGEST:
            self._fail(f"an expression has at most {_LONGEST:,} characters", 0, 1)
        if self._position == len(self._text):
            return AllOf()
        expr = self._any()
        if self._position < len(self._text):
            problem = (
                "closes nothing" if self._text[self._position] == ")" else "is not expected here"
            )
            hint = "'and' or 'or' belongs between two conditions; quote a text of several words"
            self._fail(f"{self._next_word()} {problem}: {hint}")
        return expr

    # -- the grammar --------------------------------------------------------------------------

    def _any(self) -> Expr:
        branches = [self._all()]
        while self._keyword("or"):
            branches.append(self._all())
        return branches[0] if len(branches) == 1 else AnyOf(tuple(branches))

    def _all(self) -> Expr:
        terms = [self._term()]
        while self._keyword("and"):
            terms.append(self._term())
        return terms[0] if len(terms) == 1 else AllOf(tuple(terms))

    def _term(self) -> Expr:
        negated = 0
        while self._keyword("not"):
            negated += 1
        self._depth += 1
        if self._depth + negated > _DEEPEST:
            self._fail(f"more than {_DEEPEST} inside one another")
        expr = self._plain_term()
        self._depth -= 1
        for _ in range(negated):
            expr = Not(expr)
        return expr

    def _plain_term(self) -> Expr:
        start = self._position
        if self._symbol("("):
            expr = self._any()
            if not self._symbol(")"):
                self._fail(
                    f"expected ')' here, for the '(' at {start + 1}; found {self._next_word()}"
                )
            return expr
        if (quoted := self._take(_QUOTED)) is not None:
            return Contains(_unquoted(quoted))
        word = self._take(_WORD)
        if word is None or word[0].lower() in _KEYWORDS:
            begin = start if word is not None else self._position
            self._fail(
                f"expected a column, an argument or a text; found {self._next_word(begin)}", begin,
                begin + len(word[0]) if word else None,
            )  # fmt: skip
        return self._comparison(word[0], start)

    def _comparison(self, name: str, start: int) -> Expr:
        end = self._position
        if (operator := self._take(_OPERATOR)) is not None:
            op = operator[0].replace("==", "=")
            value = self._value(glob="~" in op)
            if op[0] in "<>" and value.number is None and not is_date(name, value):
                self._fail(f"{op} compares numbers; found {value.text!r}", value.start, value.end)
            return Compare(name, op, (value,), start)
        negated = self._keyword("not")
        if self._keyword("in"):
            return Compare(name, "not in" if negated else "in", self._values(), start)
        if negated:
            self._fail(f"expected 'in' after '{name} not'; found {self._next_word()}")
        self._position = end
        self._skip()
        return Contains(name)

    def _values(self) -> tuple[Value, ...]:
        if not self._symbol("("):
            self._fail(f"expected '(' after 'in'; found {self._next_word()}")
        values: list[Value] = []
        while not self._symbol(")"):
            if values and not self._symbol(","):
                self._fail(f"expected ',' or ')'; found {self._next_word()}")
            values.append(self._value(glob=False))
        return tuple(values)

    def _value(self, *, glob: bool) -> Value:
        start = self._position
        if glob and (regex := self._take(_REGEX)) is not None:
            return Value(regex[1], None, True, start, regex.end())
        if (quoted := self._take(_QUOTED)) is not None:
            return Value(_unquoted(quoted), None, False, start, quoted.end())
        word = self._take(_VALUE)
        if word is None:
            self._fail(f"expected a value; found {self._next_word()}")
        return Value(word[0], parse_number(word[0]), False, start, word.end())

    # -- the text -----------------------------------------------------------------------------

    def _skip(self) -> None:
        m = _SPACE.match(self._text, self._position)
        self._position = m.end() if m else self._position

    def _take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        m = pattern.match(self._text, self._position)
        if m is not None:
            self._position = m.end()
            self._skip()
        return m

    def _symbol(self, symbol: str) -> bool:
        if not self._text.startswith(symbol, self._position):
            return False
        self._position += 1
        self._skip()
        return True

    def _keyword(self, keyword: str) -> bool:
        m = _WORD.match(self._text, self._position)
        if m is None or m[0].lower() != keyword:
            return False
        self._position = m.end()
        self._skip()
        return True

    def _next_word(self, position: int | None = None) -> str:
        position = self._position if position is None else position
        if position >= len(self._text):
            return "the end"
        m = _WORD.match(self._text, position)
        shown = m[0] if m else self._text[position]
        if shown in "\"'" and m is None:
            return f"a {shown} that nothing closes"
        return repr(shown)

    def _fail(self, problem: str, start: int | None = None, end: int | None = None) -> NoReturn:
        start = self._position if start is None else start
        if end is None:
            m = _WORD.match(self._text, start)
            end = m.end() if m else start + 1
        raise QueryError(self._text, start, end, problem)


def _unquoted(m: re.Match[str]) -> str:
    inner = m[1] if m[1] is not None else m[2]
    return re.sub(r"\\([\"'\\])", r"\1", inner)


def parse(text: str) -> Expr:
    """Parse ``text``; an empty or blank one is met by every event.

    Names are not checked here, but by :func:`~tracekit.query.match.check`. Raises
    :class:`QueryError`.
    """
    return _Parser(text).whole()


def comparisons(expr: Expr) -> Iterator[Compare]:
    """Every comparison in ``expr``."""
    if isinstance(expr, Compare):
        yield expr
    elif isinstance(expr, Not):
        yield from comparisons(expr.term)
    elif isinstance(expr, AllOf | AnyOf):
        for term in expr.terms:
            yield from comparisons(term)
