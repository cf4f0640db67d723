"""What systemd preserved: its document, in both forms, damaged; descriptors it passes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracekit.carriers.luo.systemd_store import Stored, listed, passed_fds, stored
from tracekit.errors import SourceError

ENTRIES = [
    {"type": "fd", "name": "lab", "token": 7},
    {"type": "luo_session", "name": "other", "sessionName": "mine"},
    {"type": "fd", "name": "reserved", "token": 0},
    {"type": "fd", "name": "none"},
    {"type": "later", "name": "lab", "token": 9},
    3,
]
FOUND = [
    Stored("tracekit-handover.service", "lab", 7, ""),
    Stored("tracekit-handover.service", "other", None, "mine"),
]


def test_both_forms() -> None:
    units = {"tracekit-handover.service": {"fdstore": ENTRIES}}
    newer = {"version": 1, "state": {"kexecsCount": 2}, "units": units}
    assert stored(json.dumps(newer).encode()) == FOUND
    assert stored(json.dumps({"tracekit-handover.service": ENTRIES}).encode()) == FOUND


def test_ours_is_found_by_the_unit() -> None:
    others = [Stored("vm.service", "lab", 3, ""), *FOUND]
    assert listed(others, "lab") == FOUND[0]
    assert listed(others, "other") == FOUND[1]
    assert listed(others[:1], "lab") is None


@pytest.mark.parametrize(
    ("document", "why"),
    [(b"", "no JSON"), (b"[]", "no JSON object"), (b'{"version": 2}', "version 2; 1 is known")],
)
def test_documents_that_are_refused(document: bytes, why: str) -> None:
    with pytest.raises(SourceError, match=why):
        stored(document)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["units", "u.service", "fdstore", "type", "token", "name"]), inner
        )
    ),
    max_leaves=12,
)


@settings(max_examples=200)
@given(JSON)
def test_any_document(document: object) -> None:
    try:
        found = stored(json.dumps(document).encode())
    except SourceError:
        return
    assert all(entry.token is None or 0 < entry.token < 1 << 64 for entry in found)


def test_descriptors_that_systemd_passes() -> None:
    given_here = {"LISTEN_PID": "5", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "lab:other"}
    assert passed_fds(given_here, 5) == {"lab": 3, "other": 4}
    assert passed_fds(given_here, 6) == {}
    assert passed_fds({}, 5) == {}
    assert passed_fds({**given_here, "LISTEN_FDS": "-1"}, 5) == {}
    assert passed_fds({**given_here, "LISTEN_FDS": "1"}, 5) == {"lab": 3}
