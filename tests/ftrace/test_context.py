"""What a boot's names say of its kernel."""

from __future__ import annotations

import pytest

from tracekit.ftrace.context import Context


@pytest.mark.parametrize(
    ("release", "version"),
    [
        ("6.12.118+deb13-amd64", (6, 12)),
        ("7.3-rc1", (7, 3)),
        ("5.10", (5, 10)),
        ("4.14.190-perf-g1", (4, 14)),
        ("", None),
        ("unknown", None),
        ("6", None),
        ("v6.12", None),
        ("6.123456", None),
        ("\u0666.\u0661", None),
    ],
)
def test_versions(release, version):
    assert Context(release=release).version == version
