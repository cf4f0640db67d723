"""Files that are read before they are asked for."""

from __future__ import annotations

import pytest

from tracekit.session.ahead import read_ahead


def test_what_was_read_and_what_it_raised() -> None:
    begun: list[str] = []

    def read(name: str) -> bytes:
        begun.append(name)
        if name == "damaged":
            raise ValueError(name)
        return name.encode()

    ahead = read_ahead(read, iter(["one", "damaged", "two"]))
    assert ahead["two"].result() == b"two"
    assert begun == ["one", "damaged", "two"], "one after the other"
    with pytest.raises(ValueError, match="damaged"):
        ahead["damaged"].result()
    assert ahead["one"].result() == b"one"
    assert read_ahead(read, []) == {}
