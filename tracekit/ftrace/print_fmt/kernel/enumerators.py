"""Enumerators that print formats name, where the kernel's own types (BTF) were not saved.

``enumerators.json`` has the values that BTF gives them in Debian's 6.1, 6.12 and 7.3 and in the
lab's 7.2: a number where it is the same in all that have the name, else one of each release. It is
what ``boots/N/enumerators.json`` of sessions of these kernels have, with all modules loaded that
have events.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from tracekit.ftrace.print_fmt.releases import Version

__all__ = ["enumerators_of"]

_FILE = Path(__file__).with_name("enumerators.json")
_Release = tuple[int, ...]


@lru_cache(4)
def enumerators_of(version: Version) -> Mapping[str, int]:
    """Those of a release that was looked at, or lies between two that agree."""
    table = json.loads(_FILE.read_bytes())
    releases = [tuple(map(int, name.split("."))) for name in table["releases"]]
    if version is None or not releases[0] <= version <= releases[-1]:
        return {}
    found = {name: _value(given, releases, version) for name, given in table["values"].items()}
    return {name: value for name, value in found.items() if value is not None}


def _value(
    given: int | Sequence[int | None], releases: Sequence[_Release], version: _Release
) -> int | None:
    if isinstance(given, int):
        return given
    known = [(r, value) for r, value in zip(releases, given, strict=True) if value is not None]
    before = [value for release, value in known if release <= version]
    after = [value for release, value in known if release >= version]
    return before[-1] if before and after and before[-1] == after[0] else None
