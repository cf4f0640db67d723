"""The handover that ships, as filters see it."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import as_file, files
from typing import Any

import numpy as np
import pytest

import tracekit
from tracekit.query.groups import Index
from tracekit.query.match import Names
from tracekit.recording import Recording


@pytest.fixture(scope="package")
def recording() -> Iterator[Recording]:
    with as_file(files("tracekit") / "demo" / "handover.tar.zst") as shipped:
        yield tracekit.open(shipped)


@pytest.fixture(scope="package")
def names(recording: Recording) -> Names:
    return Names.of(recording)


@pytest.fixture(scope="package")
def index(recording: Recording) -> Index:
    return Index(recording)


@pytest.fixture(scope="package")
def rows(recording: Recording) -> list[dict[str, Any]]:
    typed = recording.fields(np.arange(len(recording)))
    return [
        {**row, "fields": fields}
        for row, fields in zip(recording.timeline.to_pylist(), typed, strict=True)
    ]
