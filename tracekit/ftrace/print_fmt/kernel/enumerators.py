"""Enumerators that print formats name, where the kernel's own types (BTF) were not saved.

``enumerators.json`` has the values that Debian's 5.10, 6.1, 6.12 and 7.3 and the lab's 7.2 give
them: a number where it is the same in all five, which is taken for all releases from the first to
the last; else one of each release, which is taken for that one alone, as a kernel in between may
have others. They are what ``boots/N/enumerators.json`` of sessions of these kernels have, with all
modules loaded that have events; those of modules of 5.10 and 7.2 are from their sources.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from tracekit.ftrace.print_fmt.releases import Version

__all__ = ["enumerators_of"]

_FILE = Path(__file__).with_name("enumerators.json")


@lru_cache(4)
def enumerators_of(version: Version) -> Mapping[str, int]:
    """Those whose values are known in a release."""
    table = json.loads(_FILE.read_bytes())
    releases = [tuple(map(int, name.split("."))) for name in table["releases"]]
    if version is None or not releases[0] <= version <= releases[-1]:
        return {}
    values = table["values"].items()
    found = {name: given for name, given in values if isinstance(given, int)}
    if version in releases:
        at = releases.index(version)
        its_own = {name: given[at] for name, given in values if name not in found}
        found |= {name: value for name, value in its_own.items() if value is not None}
    return found
