"""systemd's map of its units' file descriptors, now and as it was first."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.errors import ParseError
from tracekit.kho.token_map import StoredFile, parse_token_map


def test_version_one() -> None:
    units = {"a.service": {"fdstore": [{"type": "fd", "name": "n", "token": 3}]},
             "b.service": {"fdstore": [{"type": "luo_session", "name": "s", "sessionName": "b/x"}]},
             "c.service": {}}  # fmt: skip
    document = {"version": 1, "state": {"x": 1}, "units": units}
    assert parse_token_map(json.dumps(document).encode() + b"\0") == [
        StoredFile("a.service", "n", "fd", 3, None),
        StoredFile("b.service", "s", "luo_session", None, "b/x"),
    ]


def test_the_first_form() -> None:
    document = {"/system.slice/a.service": [{"type": "fd", "name": "n", "fd_index": 1},
                                            {"type": "luo_session", "name": "s",
                                             "session_name": "b"}, "odd"]}  # fmt: skip
    assert [(f.token, f.session) for f in parse_token_map(json.dumps(document).encode())] == [
        (1, None), (None, "b"),
    ]  # fmt: skip


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"[" * 100_000, b"\xff"])
def test_no_map(data: bytes) -> None:
    with pytest.raises(ParseError):
        parse_token_map(data)


@given(st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) |
                    st.dictionaries(st.text(), inner)), st.booleans())  # fmt: skip
def test_any_json(inner: object, versioned: bool) -> None:
    document = {"version": 1, "units": inner} if versioned else {"x": inner}
    for file in parse_token_map(json.dumps(document).encode()):
        assert file.token is None or 0 <= file.token < 1 << 64
