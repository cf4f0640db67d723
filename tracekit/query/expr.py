"""Filter expressions: ``event ~ sched_* and prev_comm = kexec and not cpu in (0, 1)``.

::

    expr   := and ("or" and)*            and  := term ("and" term)*
    term   := "not" term | "(" expr ")" | comparison | TEXT
    comparison := NAME ("=" | "==" | "!=" | "<" | "<=" | ">" | ">=" | "~" | "!~") VALUE
                | NAME ["not"] "in" "(" [VALUE ("," VALUE)*] ")"

``NAME`` is a column or an argument of any event; ``args.NAME`` is the argument where both are
called so; ``delta`` (or ``Δ``) is the time since the event before. Both sides of a comparison may
add and multiply: ``bytes_alloc - bytes_req > 64`` (:mod:`.sums`). A number with a fraction and
without a unit, compared with a time, is in seconds: what the table of events shows. ``~`` compares
with a glob, or with a ``/regular expression/``. A ``TEXT`` alone is searched in the task's name,
the event and the rendered arguments, ignoring case. A comparison with an argument that an event
does not have is false, ``!=`` too. ``ts`` is compared with a time from the jump, or with a date:
``ts >= 2026-11-28T20:38:25Z``. :mod:`.match` evaluates.
"""

from __future__ import annotations

import re
from typing import NoReturn

from tracekit.errors import UsageError
from tracekit.query import sums
from tracekit.query.parts import (
    ARGUMENT,
    COLUMNS,
    KEYWORDS,
    NUMBERS,
    TIMES,
    VALUE,
    WORD,
    AllOf,
    AnyOf,
    Compare,
    Contains,
    Expr,
    Not,
    Value,
    calculations,
    column_of,
    comparisons,
    is_date,
    joined,
    parse_number,
    terms,
)
from tracekit.query.sums import Calc, Number, Sum
from tracekit.timeline.when.dates import parse_date

__all__ = [
    "ARGUMENT", "COLUMNS", "NUMBERS", "TIMES", "AllOf", "AnyOf", "Calc", "Compare", "Contains",
    "Expr", "Not", "QueryError", "Value", "calculations", "column_of", "comparisons",
    "is_date", "joined", "parse", "parse_number", "terms",
]  # fmt: skip

_LONGEST = 10_000  # characters of an expression
_DEEPEST = 40  # levels of nested parentheses and ``not``
_SPACE = re.compile(r"\s*")
_OPERATOR = re.compile(r"==|=|!=|!~|~|<=|<|>=|>")
_QUOTED = re.compile(r""""((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'""", re.S)
_REGEX = re.compile(r"/((?:[^/\\]|\\.)+)/(?=[\s),]|$)", re.S)
_SECONDS = re.compile(r"([-+]?)([0-9]{1,10})\.([0-9]{1,9})(?=[\s),]|$)")
_APART = re.compile(r"[-+]?[0-9]{1,12}(?:\.[0-9]{1,9})?\s+(?:ns|us|µs|ms|s)(?=[\s),]|$)")


class QueryError(UsageError):
    """An invalid expression: ``what`` says what is wrong at ``text[start:end]``."""

    def __init__(self, text: str, start: int, end: int, what: str) -> None:
        # one cell a character, so that the line below points at the right one
        shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
        caret = " " * start + "^" + "~" * (end - start - 1)
        super().__init__(f"{what}\n  {shown}\n  {caret}")
        self.text, self.start, self.end, self.what = text, start, end, what


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
        if self._text.startswith("(", start) and (calc := self._calculation()) is not None:
            return calc
        if self._symbol("("):
            expr = self._any()
            if not self._symbol(")"):
                self._fail(
                    f"expected ')' here, for the '(' at {start + 1}; found {self._next_word()}"
                )
            return expr
        if (quoted := self._take(_QUOTED)) is not None:
            return Contains(_unquoted(quoted))
        if (calc := self._calculation()) is not None:
            return calc
        word = self._take(WORD)
        if word is None or word[0].lower() in KEYWORDS:
            begin = start if word is not None else self._position
            self._fail(
                f"expected a column, an argument or a text; found {self._next_word(begin)}", begin,
                begin + len(word[0]) if word else None,
            )  # fmt: skip
        return self._comparison(word[0], start)

    def _calculation(self) -> Expr | None:
        """A comparison with arithmetic in it; None, and nothing is read, if there is none here."""
        if (found := sums.read(self._text, self._position, parse_number, spaced=False)) is None:
            return None
        left = found[0]
        m = _OPERATOR.match(self._text, _after_space(self._text, found[1]))
        if m is None or "~" in m[0] or any(_is_text(n.name) for n in sums.names_in(left)):
            return None
        spaced = not isinstance(left, Sum) and m[0][0] not in "<>"  # a word may hold a sign
        begin = _after_space(self._text, m.end())
        word = VALUE.match(self._text, begin)
        if word is not None and parse_date(word[0]) is not None:
            return None  # 2026-11-28 is no difference
        if (behind := sums.read(self._text, begin, parse_number, spaced=spaced)) is None:
            return None
        right, end = behind
        if not isinstance(left, Sum | Number) and not isinstance(right, Sum):
            return None
        if not any(sums.names_in(Sum(left, "+", right))):
            return None
        self._position = _after_space(self._text, end)
        op, value = m[0].replace("==", "="), sums.folded(right)
        if not isinstance(left, sums.Name) or value is None:
            return Calc(left, op, right)
        unit = "ns" if sums.is_time(right) else ""
        number = Value(f"{value}{unit}", value, False, begin, end)
        return Compare(left.name, op, (number,), left.start)

    def _comparison(self, name: str, start: int) -> Expr:
        end = self._position
        if (operator := self._take(_OPERATOR)) is not None:
            op = operator[0].replace("==", "=")
            if column_of(name) in TIMES and (timed := self._time(name, op, start)) is not None:
                return timed
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

    def _time(self, name: str, op: str, start: int) -> Expr | None:
        """A comparison with a time as it is shown: seconds with a fraction, or ``2.5 ms``."""
        begin = self._position
        if (apart := self._take(_APART)) is not None:
            text = "".join(apart[0].split())
            return Compare(
                name, op, (Value(text, parse_number(text), False, begin, apart.end()),), start
            )
        if "~" in op or (m := self._take(_SECONDS)) is None:
            return None
        ns = int(m[2]) * 10**9 + int(m[3].ljust(9, "0"))
        half = 10 ** (9 - len(m[3])) // 2
        low, high = (-ns, -ns) if m[1] == "-" else (ns, ns)
        if op not in ("=", "!=") or not half:
            return Compare(name, op, (_ns(low, begin, m.end()),), start)
        # it was rounded, away from 0 where it was halfway
        low, high = (low - half + 1, high + half) if m[1] == "-" else (low - half, high + half - 1)
        near = AllOf((
            Compare(name, ">=", (_ns(low, begin, m.end()),), start),
            Compare(name, "<=", (_ns(high, begin, m.end()),), start),
        ))  # fmt: skip
        return near if op == "=" else Not(near)

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
        word = self._take(VALUE)
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
        m = WORD.match(self._text, self._position)
        if m is None or m[0].lower() != keyword:
            return False
        self._position = m.end()
        self._skip()
        return True

    def _next_word(self, position: int | None = None) -> str:
        position = self._position if position is None else position
        if position >= len(self._text):
            return "the end"
        m = WORD.match(self._text, position)
        shown = m[0] if m else self._text[position]
        if shown in "\"'" and m is None:
            return f"a {shown} that nothing closes"
        return repr(shown)

    def _fail(self, problem: str, start: int | None = None, end: int | None = None) -> NoReturn:
        start = self._position if start is None else start
        if end is None:
            m = WORD.match(self._text, start)
            end = m.end() if m else start + 1
        raise QueryError(self._text, start, end, problem)


def _after_space(text: str, at: int) -> int:
    m = _SPACE.match(text, at)
    return m.end() if m else at


def _ns(ns: int, start: int, end: int) -> Value:
    return Value(f"{ns}ns", ns, False, start, end)


def _is_text(name: str) -> bool:
    column = column_of(name)
    return column is not None and column not in NUMBERS


def _unquoted(m: re.Match[str]) -> str:
    inner = m[1] if m[1] is not None else m[2]
    return re.sub(r"\\([\"'\\])", r"\1", inner)


def parse(text: str) -> Expr:
    """Parse ``text``; an empty or blank one is met by every event.

    Names are not checked here, but by :func:`~tracekit.query.match.check`. Raises
    :class:`QueryError`.
    """
    return _Parser(text).whole()
