"""Compiled programs as data."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.errors import ParseError
from tracekit.probes.objects import Map, Objects, with_maps

LOAD = bytes.fromhex("18110000 09000000 00000000 00000000")  # r1 = map 9
NUMBER = bytes.fromhex("18010000 09000000 00000000 18110000")  # r1 = a number that looks like one
EXIT = bytes.fromhex("95000000 00000000")

names = st.text(max_size=8)
numbers = st.integers(0, 2**31)
maps = st.builds(Map, names, numbers, numbers, numbers, numbers, numbers)
objects = st.builds(
    Objects,
    st.lists(maps, max_size=3).map(tuple),
    st.dictionaries(names, st.binary(max_size=32), max_size=3),
    names,
)


@given(objects)
def test_they_come_back_as_they_were_kept(wanted: Objects) -> None:
    assert Objects.parse(wanted.dump()) == wanted


@given(objects, st.data())
def test_what_was_damaged_is_refused(wanted: Objects, data: st.DataObject) -> None:
    kept = bytearray(wanted.dump())
    at = data.draw(st.integers(0, len(kept) - 1))
    kept[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ParseError):
        Objects.parse(bytes(kept))


@given(st.binary(max_size=200))
def test_what_never_was_one_is_refused(data: bytes) -> None:
    with pytest.raises(ParseError):
        Objects.parse(data)


def test_only_loads_of_maps_are_changed() -> None:
    code = NUMBER + LOAD + EXIT
    changed = with_maps(code, {9: 5})
    assert changed == NUMBER + LOAD.replace(b"\x09", b"\x05") + EXIT
    assert with_maps(changed, {5: 9}) == code
