"""What regions/NAME.json says: sound, damaged, or written by somebody else."""

from __future__ import annotations

from hypothesis import given

from tests.support.sessions.kept_index import json_values
from tracekit.session.regions import listed_writers, unread_spans


def test_what_is_no_pair_of_numbers_is_left_out() -> None:
    listed = [[4096, 4096], [0, 16], [8, 8], [1], ["a", 2], [True, 5], [-1, 4], [0, 1 << 60], None]
    assert unread_spans({"unread": listed}) == ((0, 16), (4096, 4096))
    assert unread_spans({}) == ()


def test_writers_are_texts_or_there_are_none() -> None:
    assert listed_writers({"writers": ["", "b"]}) == ("", "b")
    assert listed_writers({"writers": ["a", 1]}) == ()
    assert len(listed_writers({"writers": ["a"] * 1000})) == 64


@given(json_values)
def test_any_document(value: object) -> None:
    document = {"unread": value, "writers": value}
    assert all(size > 0 <= start for start, size in unread_spans(document))
    assert all(isinstance(writer, str) for writer in listed_writers(document))
