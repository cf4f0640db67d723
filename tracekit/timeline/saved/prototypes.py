"""What the functions of one boot's kernel take, by the types that were saved of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from tracekit.errors import ParseError, SessionError
from tracekit.ftrace.context import Parameter
from tracekit.session import Session

if TYPE_CHECKING:
    from tracekit.btf import Btf

__all__ = ["SavedPrototypes"]


class _Boot(Protocol):
    """What is needed of a :class:`~tracekit.timeline.boot.Boot`."""

    @property
    def index(self) -> int: ...
    @property
    def session(self) -> Session: ...
    def note(self, code: str, where: str, message: str) -> None: ...


class SavedPrototypes:
    """Read when the first function is asked for; of damaged types nothing is known."""

    def __init__(self, boot: _Boot) -> None:
        self._boot = boot

    @cached_property
    def _types(self) -> Btf | None:
        from tracekit.btf import kernel_types

        rel = f"boots/{self._boot.index}/btf"
        try:
            return kernel_types(self._boot.session.read(rel), rel)
        except (SessionError, ParseError) as error:
            self._boot.note("file-unreadable", "btf", str(error))
            return None

    def of(self, function: str) -> Sequence[Parameter] | None:
        """As :meth:`tracekit.ftrace.context.Prototypes.of`."""
        types = self._types
        if types is None:
            return None
        try:
            found = types.function(function)
            parameters = found.parameters if found else ()
            return tuple(_parameter(types, *one) for one in parameters)
        except ParseError:
            return None


def _parameter(types: Btf, name: str, number: int) -> Parameter:
    kind, size = types.kind(number)
    if kind == "INT" and not types.is_signed(number):
        kind = "UNSIGNED"
    return Parameter(name, kind, size, types.enumeration(number))
