"""JSON as every command prints it: a schema's number first, and no number that a reader rounds.

jq 1.6 and JavaScript keep numbers as doubles, which round beyond 2**53. So addresses are strings,
``"0xffffffff81000000"``, and so is every other integer beyond ``±2**53``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

__all__ = ["SCHEMA", "as_hex", "document_json", "exact"]

#: Goes up when a key is removed or means something else; new keys do not count.
SCHEMA = 2
_EXACT = 1 << 53
_ADDRESS = "address"  # the key of every address in the commands' documents


def as_hex(value: Any) -> Any:
    """An integer, or each of a list, as ``"0x1f"``; what is none is left as it is."""
    if isinstance(value, list):
        return [as_hex(one) for one in value]
    return hex(value) if isinstance(value, int) and not isinstance(value, bool) else value


def exact(value: Any) -> Any:
    """The value with integers beyond ``±2**53`` as ``"0x…"``, in lists too."""
    if isinstance(value, int):
        return value if -_EXACT <= value <= _EXACT else hex(value)
    return [exact(one) for one in value] if isinstance(value, list | tuple) else value


def _prepared(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            key: as_hex(one) if key == _ADDRESS else _prepared(one) for key, one in value.items()
        }
    return [_prepared(one) for one in value] if isinstance(value, list | tuple) else exact(value)


def document_json(document: Mapping[str, Any]) -> str:
    """A command's ``--json``: the document with ``schema`` in front, indented."""
    return json.dumps({"schema": SCHEMA, **_prepared(document)}, indent=2)
