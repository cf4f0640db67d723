"""``pa`` is pyarrow, imported when something of it is first used: many commands need no table."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = ["pa"]


class _Lazy:
    """Stands for a module. :class:`importlib.util.LazyLoader` is not safe with threads."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        value = getattr(import_module(self._name), attribute)
        setattr(self, attribute, value)  # the next time it is found without this
        return value


if TYPE_CHECKING:
    import pyarrow as pa
else:
    pa = _Lazy("pyarrow")
