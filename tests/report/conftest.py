"""The reference handovers, one test each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.sessions.handovers import HANDOVERS, opened
from tracekit.recording import Recording


@pytest.fixture(params=HANDOVERS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def recording(name: str, session: Callable[[str], Path]) -> Recording:
    return opened(session(name))
