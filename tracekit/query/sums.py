"""Arithmetic in filter expressions: ``bytes_alloc - bytes_req > 64``, ``delta / 2 >= 5ms``.

A term is a number (with a unit of time or without), the name of a column or an argument that is a
number, or a sum of two terms. :mod:`.expr` reads the comparison around it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from tracekit.frozen import dataclass, field

__all__ = [
    "Calc",
    "Name",
    "Number",
    "Sum",
    "Term",
    "folded",
    "is_time",
    "names_in",
    "read",
]

_NAME = re.compile(r"[^\W\d][\w.]*")
_NUMBER = re.compile(r"0[xX][0-9a-fA-F]{1,16}|[0-9]{1,15}(?:\.[0-9]{1,9})?(?:ns|us|µs|ms|s)?")
_SPACED = re.compile(r"\s+([-+*/%])\s+")
_SIGN = re.compile(r"\s*([-+*/%])\s*")
_BLANK = re.compile(r"\s*")
_BEHIND = re.compile(r"[^\s()+\-*/%=!<>,]")  # what would make a longer word of a name or a number
_PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2, "%": 2}
_DEEPEST = 20  # parentheses inside one another
_MOST = 100  # signs in a term


@dataclass(frozen=True, slots=True)
class Number:
    """``value`` as written in ``text``; a time is in ns, and ``bare`` has no unit."""

    value: int
    text: str
    bare: bool
    start: int = field(default=0, compare=False)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Name:
    """A column or an argument."""

    name: str
    start: int = field(default=0, compare=False)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Sum:
    """``left op right``; ``op`` is one of ``+ - * / %``."""

    left: Term
    op: str
    right: Term

    def __str__(self) -> str:
        left, right = str(self.left), str(self.right)
        mine = _PRECEDENCE[self.op]
        if isinstance(self.left, Sum) and _PRECEDENCE[self.left.op] < mine:
            left = f"({left})"
        if isinstance(self.right, Sum) and _PRECEDENCE[self.right.op] <= mine:
            right = f"({right})"
        return f"{left} {self.op} {right}"


Term = Number | Name | Sum


@dataclass(frozen=True, slots=True)
class Calc:
    """``left op right``, two terms compared as numbers; ``op`` is one of ``= != < <= > >=``."""

    left: Term
    op: str
    right: Term

    def __str__(self) -> str:
        return f"{self.left} {self.op} {self.right}"


def names_in(term: Term) -> Iterator[Name]:
    """The names in a term."""
    if isinstance(term, Name):
        yield term
    elif isinstance(term, Sum):
        yield from names_in(term.left)
        yield from names_in(term.right)


def bare_beside_times(term: Term, times: Callable[[str], bool]) -> Iterator[Number]:
    """The numbers without a unit that are added to a time; ``times`` tells which names are one."""
    if not isinstance(term, Sum):
        return
    pair = (term.left, term.right)
    for one, other in (pair, pair[::-1]) if term.op in "+-%" else ():
        bare = isinstance(other, Number) and other.bare and other.value
        if bare and _units(one, times) == 1:
            assert isinstance(other, Number)
            yield other
    for part in pair:
        yield from bare_beside_times(part, times)


def _units(term: Term, times: Callable[[str], bool]) -> int | None:
    """How often the unit of time is multiplied into a term; None if that may be anything."""
    if isinstance(term, Number):
        return 0 if term.bare else 1
    if isinstance(term, Name):
        return 1 if times(term.name) else None
    left, right = _units(term.left, times), _units(term.right, times)
    if term.op in "+-%":
        return left if left is not None else right
    if left is None or right is None:
        return None
    return left + right if term.op == "*" else left - right


def is_time(term: Term) -> bool:
    """Whether a term without names has a unit of time, everywhere where it needs one."""
    if isinstance(term, Number):
        return not term.bare
    if isinstance(term, Name):
        return False
    left, right = is_time(term.left), is_time(term.right)
    if term.op in "+-%":
        return (left or folded(term.left) == 0) and (right or folded(term.right) == 0)
    return left != right and (term.op == "*" or left)


def folded(term: Term) -> int | None:
    """What a term without names is; None if it has some, or is no whole number."""
    if isinstance(term, Number):
        return term.value
    if isinstance(term, Name):
        return None
    left, right = folded(term.left), folded(term.right)
    if left is None or right is None or (term.op in "/%" and not right):
        return None
    if term.op in "/%":
        whole, rest = divmod(left, right)
        return rest if term.op == "%" else None if rest else whole
    return {"+": left + right, "-": left - right, "*": left * right}[term.op]


class _Reader:
    """Reads one term from ``text``; ``spaced``: only signs between blanks are signs."""

    def __init__(self, text: str, at: int, number: Callable[[str], int | None], spaced: bool):
        self._text, self.at, self._number, self._signs = text, at, number, 0
        self._sign = _SPACED if spaced else _SIGN

    def term(self, least: int = 1, depth: int = 0) -> Term | None:
        left = self._single(depth)
        while left is not None and (m := self._sign.match(self._text, self.at)) is not None:
            mine, before = _PRECEDENCE[m[1]], self.at
            self._signs += 1
            if mine < least or self._signs > _MOST:
                break
            self.at = m.end()
            right = self.term(mine + 1, depth)
            if right is None:
                self.at = before
                break
            left = Sum(left, m[1], right)
        return left

    def _single(self, depth: int) -> Term | None:
        if self._text.startswith("(", self.at) and depth < _DEEPEST:
            self.at = self._blank(self.at + 1)
            inner = self.term(1, depth + 1)
            end = self._blank(self.at)
            if inner is None or not self._text.startswith(")", end):
                return None
            self.at = end + 1
            return inner
        start = begin = self.at
        if signed := self._text.startswith("-", start):
            begin = self._blank(start + 1)
        if (m := _NUMBER.match(self._text, begin)) is not None and self._ends(m.end()):
            value = self._number(m[0])
            if value is None:
                return None
            self.at = m.end()
            text = f"-{m[0]}" if signed else m[0]
            return Number(-value if signed else value, text, m[0][-1] != "s", start)
        if not signed and (m := _NAME.match(self._text, start)) and self._ends(m.end()):
            self.at = m.end()
            return Name(m[0], start)
        return None

    def _ends(self, at: int) -> bool:
        return _BEHIND.match(self._text, at) is None

    def _blank(self, at: int) -> int:
        m = _BLANK.match(self._text, at)
        return m.end() if m else at


def read(
    text: str, at: int, number: Callable[[str], int | None], *, spaced: bool
) -> tuple[Term, int] | None:
    """(the term that begins at ``text[at]``, where it ends); None if none does.

    ``number`` gives the value of a number. ``spaced``: ``a-b`` is a word and no sum.
    """
    reader = _Reader(text, at, number, spaced)
    term = reader.term()
    return None if term is None else (term, reader.at)
