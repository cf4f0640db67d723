"""``dataclass(frozen=True)``, with slots or without, at a tenth of its price.

The standard library writes and compiles six functions for each such class: half a millisecond, and
a command loads two hundred of them before it does anything. Here three of them are compiled when
they are first called, which for many never happens, and all classes share the others. What
:mod:`dataclasses` offers for its own (``fields``, ``replace``, ``asdict``) works for these.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import MISSING, FrozenInstanceError, field, fields
from typing import TYPE_CHECKING, Any

__all__ = ["dataclass", "field"]

_OPTIONS = frozenset({"frozen", "slots", "eq", "weakref_slot"})  # of those that are made here


def _values(self: Any) -> tuple[Any, ...]:
    return tuple(getattr(self, f.name) for f in fields(self))


def _repr(self: Any) -> str:
    shown = (f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if f.repr)
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _set(self: Any, name: str, value: object) -> None:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _delete(self: Any, name: str) -> None:
    raise FrozenInstanceError(f"cannot delete field {name!r}")


def _set_state(self: Any, state: tuple[Any, ...]) -> None:
    for f, value in zip(fields(self), state, strict=True):
        object.__setattr__(self, f.name, value)


def _init(cls: Any) -> tuple[str, dict[str, Any]]:
    """The text of ``__init__``, as the standard library would write it, and what it names."""
    known: dict[str, Any] = {"_set": object.__setattr__, "_absent": MISSING}
    given, lines = [], []
    for f in fields(cls):
        new, old = f"_new_{f.name}", f"_old_{f.name}"
        known |= {new: f.default_factory, old: f.default}
        made = f.default_factory is not MISSING
        value = f"{new}()" if made else old
        if f.init:
            needed = not made and f.default is MISSING
            given.append(f.name if needed else f"{f.name}={'_absent' if made else old}")
            value = f"{value} if {f.name} is _absent else {f.name}" if made else f.name
        lines.append(f" _set(self, {f.name!r}, {value})")
    if hasattr(cls, "__post_init__"):
        lines.append(" self.__post_init__()")
    return f"({', '.join(['self', *given])}):\n" + ("\n".join(lines) or " pass"), known


def _compared(cls: Any, self: str) -> str:
    return "(" + "".join(f"{self}.{f.name}, " for f in fields(cls) if f.compare) + ")"


def _eq(cls: Any) -> tuple[str, dict[str, Any]]:
    same = f"{_compared(cls, 'self')} == {_compared(cls, 'other')}"
    return f"(self, other):\n return {same} if type(other) is type(self) else NotImplemented", {}


def _hash(cls: Any) -> tuple[str, dict[str, Any]]:
    return f"(self):\n return hash({_compared(cls, 'self')})", {}


def _later(cls: Any, name: str, write: Callable[[Any], tuple[str, dict[str, Any]]]) -> None:
    """Give a class a method that is compiled when it is first called."""

    def first(self: Any, /, *args: Any, **words: Any) -> Any:
        text, known = write(cls)
        exec(f"def {name}{text}", known)
        setattr(cls, name, known[name])
        return known[name](self, *args, **words)

    if name not in cls.__dict__:
        setattr(cls, name, first)


def _frozen(cls: type, options: dict[str, bool]) -> Any:
    if cls.__bases__ != (object,):
        return dataclasses.dataclass(**options)(cls)
    slots, compared = options.get("slots", False), options.get("eq", True)
    plain = {**options, "frozen": False, "init": False, "repr": False, "eq": False}
    made: Any = dataclasses.dataclass(**plain)(cls)
    _later(made, "__init__", _init)
    for name, write in (("__eq__", _eq), ("__hash__", _hash)) if compared else ():
        _later(made, name, write)
    if "__repr__" not in made.__dict__:
        made.__repr__ = _repr
    made.__setattr__, made.__delattr__ = _set, _delete
    if slots:
        made.__getstate__, made.__setstate__ = _values, _set_state
    return made


if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(cls=None, /, **options):
        """As :func:`dataclasses.dataclass`; frozen ones cost less."""
        if not options.get("frozen") or not options.keys() <= _OPTIONS:
            return dataclasses.dataclass(cls, **options)
        return (lambda made: _frozen(made, options)) if cls is None else _frozen(cls, options)
