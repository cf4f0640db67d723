"""What filter expressions are made of: comparisons, texts, and what joins them.

:mod:`.expr` reads them, :mod:`.match` evaluates them; ``str()`` of one reads as the same again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tracekit.frozen import dataclass, field
from tracekit.query.sums import Calc
from tracekit.timeline.filter import parse_time
from tracekit.timeline.when.dates import parse_date

__all__ = [
    "ARGUMENT", "COLUMNS", "KEYWORDS", "NUMBERS", "TIMES", "VALUE", "WORD", "AllOf", "AnyOf",
    "Compare", "Contains", "Expr", "Not", "Value", "calculations", "column_of", "comparisons",
    "is_date", "joined", "parse_number", "terms",
]  # fmt: skip

#: The columns; ``_ALIASES`` has other names for some.
COLUMNS = ("ts", "boot", "cpu", "pid", "comm", "event", "system", "source", "flags", "preempt",
           "raw", "delta", "args")  # fmt: skip
#: Those of them that are numbers, and times among these.
NUMBERS = frozenset(("ts", "boot", "cpu", "pid", "flags", "preempt", "raw", "delta"))
TIMES = frozenset(("ts", "delta"))
#: The prefix of an argument whose name is also a column's.
ARGUMENT = "args."
_ALIASES = {"ts_ns": "ts", "ts_raw": "raw", "task": "comm", "Δ": "delta"}
KEYWORDS = frozenset(("and", "or", "not", "in"))
WORD = re.compile(r"""[^\s()",'=!<>~]+""")
VALUE = re.compile(r"""[^\s()",']+""")
_NUMBER = re.compile(
    r"[-+]?(?:0[xX][0-9a-fA-F]{1,16}|[0-9]{1,20}|[0-9]{1,12}(?:\.[0-9]{1,9})?(?:ns|us|µs|ms|s))"
)


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
            VALUE.fullmatch(self.text)
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
        plain = WORD.fullmatch(self.text) and self.text.lower() not in KEYWORDS
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


Expr = Compare | Calc | Contains | Not | AllOf | AnyOf


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


def comparisons(expr: Expr) -> Iterator[Compare]:
    """Every comparison in ``expr`` of a name with values."""
    return (leaf for leaf in _leaves(expr) if isinstance(leaf, Compare))


def calculations(expr: Expr) -> Iterator[Calc]:
    """Every comparison in ``expr`` with arithmetic in it."""
    return (leaf for leaf in _leaves(expr) if isinstance(leaf, Calc))


def _leaves(expr: Expr) -> Iterator[Expr]:
    if isinstance(expr, Not):
        yield from _leaves(expr.term)
    elif isinstance(expr, AllOf | AnyOf):
        for term in expr.terms:
            yield from _leaves(term)
    else:
        yield expr
