"""Frozen dataclasses of tracekit beside those of the standard library."""

from __future__ import annotations

import copy
import dataclasses
import functools
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit import frozen

MADE: list[str] = []


class _Fields:
    """Annotated so that both decorators can be given the same."""

    name: str
    size: int = 4
    tags: list[str] = dataclasses.field(default_factory=list)
    cache: dict[str, int] = dataclasses.field(default_factory=dict, init=False, compare=False)
    secret: str = dataclasses.field(default="x", repr=False)


def both(**options: bool) -> tuple[Any, Any]:
    """The same class by the standard library, and by tracekit; ``options`` beside ``frozen``."""

    def make(decorate: Callable[..., Any]) -> Any:
        return decorate(frozen=True, **options)(type("Thing", (), dict(_Fields.__dict__)))

    return make(dataclasses.dataclass), make(frozen.dataclass)


SLOTS = st.booleans()


@frozen.dataclass(frozen=True, slots=True)
class Plain:
    """At the top of a module, so that it can be pickled."""

    a: int
    b: str = "b"

    def __post_init__(self) -> None:
        MADE.append(self.b)


WORDS = st.fixed_dictionaries(
    {"name": st.text()},
    optional={"size": st.integers(), "tags": st.lists(st.text()), "secret": st.text()},
)


@given(WORDS, WORDS, SLOTS)
def test_they_are_made_compared_and_shown_as_the_library_does(
    one: dict[str, Any], other: dict[str, Any], slots: bool
) -> None:
    theirs, ours = both(slots=slots)
    a, b, c, d = theirs(**one), theirs(**other), ours(**one), ours(**other)
    assert repr(a) == repr(c).replace(ours.__qualname__, theirs.__qualname__)
    assert (a == b) == (c == d)
    assert (c == c) and c != a
    assert dataclasses.asdict(a) == dataclasses.asdict(c)
    changed = dataclasses.replace(c, name="changed")
    assert (changed.name, changed.size, changed.tags) == ("changed", c.size, c.tags)
    assert c.cache == {}
    assert c.cache is not d.cache
    assert ours.__match_args__ == theirs.__match_args__


@given(WORDS, SLOTS)
def test_hashes_are_those_of_what_is_compared(words: dict[str, Any], slots: bool) -> None:
    theirs, ours = both(slots=slots)
    words["tags"] = tuple(words.get("tags", ()))  # a list has no hash
    assert hash(theirs(**words)) == hash(ours(**words))


def test_nothing_can_be_changed_or_added() -> None:
    thing = Plain(1)
    for change in (
        lambda: setattr(thing, "a", 2),
        lambda: delattr(thing, "a"),
        lambda: setattr(thing, "new", 2),
    ):
        with pytest.raises(dataclasses.FrozenInstanceError):
            change()
    assert not hasattr(thing, "__dict__")


def test_wrong_arguments_are_refused_from_the_first_time_on() -> None:
    _, ours = both(slots=True)
    for _ in range(2):
        with pytest.raises(TypeError, match="missing 1 required positional argument: 'name'"):
            ours()
        with pytest.raises(TypeError, match="unexpected keyword argument 'cache'"):
            ours("n", cache={})


def test_copies_and_pickles_are_equal() -> None:
    thing = Plain(1, "z")
    assert MADE[-1] == "z"
    for made in (copy.copy(thing), copy.deepcopy(thing), pickle.loads(pickle.dumps(thing))):
        assert made == thing
        assert made is not thing


def test_without_eq_each_is_itself() -> None:
    for ours in (both(eq=False)[1], both(eq=False, slots=True, weakref_slot=True)[1]):
        one, other = ours("a"), ours("a")
        assert (one == one, one == other, len({one, other})) == (True, False, 2)
        assert repr(one) == repr(other)
    assert repr(copy.copy(one)) == repr(one)
    assert weakref.ref(one)() is one


def test_what_is_computed_is_kept_where_there_are_no_slots() -> None:
    class Circle:
        radius: int

        @functools.cached_property
        def area(self) -> int:
            MADE.append("area")
            return 3 * self.radius**2

    circle: Any = frozen.dataclass(frozen=True)(Circle)(2)  # type: ignore[call-arg]
    assert [circle.area, circle.area, MADE.count("area")] == [12, 12, 1]
    assert copy.copy(circle) == circle == dataclasses.replace(circle)
    with pytest.raises(dataclasses.FrozenInstanceError):
        circle.radius = 3


def test_other_options_and_bases_are_the_librarys() -> None:
    @frozen.dataclass
    class Changed:
        a: int

    changed = Changed(1)
    changed.a = 2
    assert changed == Changed(2)

    @dataclasses.dataclass(frozen=True)
    class Base:
        a: int

    @frozen.dataclass(frozen=True, slots=True)
    class Derived(Base):
        b: int

    assert repr(Derived(1, 2)).endswith("Derived(a=1, b=2)")
    with pytest.raises(dataclasses.FrozenInstanceError):
        Derived(1, 2).b = 3  # type: ignore[misc]
