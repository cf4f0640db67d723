"""Names of files, whatever things are called."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.errors import SessionError
from tracekit.session import safe_name
from tracekit.session.names import check_name, check_relative, strip_suffix


@given(st.text())
def test_any_name_becomes_a_plain_one(name: str) -> None:
    plain = safe_name(name)
    assert check_name(f"boots/0/regions/{plain}.raw.zst")
    assert "/" not in plain
    assert strip_suffix(plain) == plain
    assert safe_name(plain) == plain


@given(st.text(max_size=20), st.text(max_size=20))
def test_two_names_stay_two(one: str, two: str) -> None:
    assert (safe_name(one) == safe_name(two)) == (one == two)


@pytest.mark.parametrize("name", ["tkA", "tk_a-1", "tk.a", "a" * 64, "7"])
def test_plain_names_stay(name: str) -> None:
    assert safe_name(name) == name


@pytest.mark.parametrize(
    "name", ["../../x", "", ".", "a/b", ".x", "a b", "a" * 65, "x.zst", "x.part"]
)
def test_other_names_do_not(name: str) -> None:
    assert safe_name(name) != name


@given(st.text())
def test_a_checked_path_stays_inside(rel: str) -> None:
    try:
        parts = check_relative(rel)
    except SessionError:
        return
    assert os.path.normpath(f"/s/{rel}") == "/s/" + "/".join(parts)
