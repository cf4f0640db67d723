"""Documents of the index: values of their types, or a ValueError."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from tests.support.sessions.kept_index import json_values
from tracekit.browse.index.codec import decode
from tracekit.browse.index.load import About


@given(json_values)
def test_a_document_of_anything_is_a_value_error(document: Any) -> None:
    with pytest.raises(ValueError):
        decode(About, document)


def test_only_annotated_types_are_written() -> None:
    assert decode(dict[int, tuple[str, ...]], {"5": ["a"]}) == {5: ("a",)}  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        decode(dict[float, str], {})  # type: ignore[arg-type]
    with pytest.raises(ValueError):
        decode(int, True)
