"""What is kept by a key keeps nothing else alive."""

from __future__ import annotations

import gc
import weakref
from functools import lru_cache

import pytest

from tracekit.once import Once


class Large:
    """What a value is made of."""

    def value(self) -> str:
        return "made"


def test_it_is_made_once_for_a_key_and_of_nothing_that_is_kept() -> None:
    made: list[object] = []

    @lru_cache(2)
    def kept(once: Once[str]) -> str:
        made.append(once)
        return once.take()

    one, other = Large(), Large()
    seen = weakref.ref(one)
    assert kept(Once("key", one.value)) == kept(Once("key", other.value)) == "made"
    assert len(made) == 1
    assert kept(Once("another", other.value)) == "made"
    assert len(made) == 2
    del one
    gc.collect()
    assert seen() is None


def test_what_fails_is_not_kept() -> None:
    @lru_cache(2)
    def kept(once: Once[str]) -> str:
        return once.take()

    def fails() -> str:
        raise ValueError("not now")

    with pytest.raises(ValueError, match="not now"):
        kept(Once("key", fails))
    assert kept(Once("key", lambda: "made")) == "made"
