"""Dataclasses as JSON documents and back: their annotations say what a document may hold.

Only annotated types are ever created, so a document from elsewhere is no danger: anything that
does not fit is a ValueError.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from fractions import Fraction
from functools import cache
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

__all__ = ["decode", "encode"]

_T = TypeVar("_T")
_Decoder = Callable[[Any], Any]
_LONGEST = 4096  # characters of a fraction, numerator and denominator


def encode(value: Any) -> Any:
    """``value`` as what :mod:`json` writes: a dataclass is the list of its fields' values."""
    if is_dataclass(value):
        return [encode(getattr(value, f.name)) for f in fields(value)]
    if isinstance(value, Fraction):
        return f"{value.numerator}/{value.denominator}"
    if isinstance(value, Mapping):
        return {str(key): encode(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(entry) for entry in value]
    return value


def decode(kind: type[_T], document: Any) -> _T:
    """What :func:`encode` made of a ``kind``; raises ValueError for anything else."""
    make: _Decoder = _decoder(cast(Any, kind))
    return cast(_T, make(document))


def _unfit(kind: object, document: object) -> ValueError:
    return ValueError(f"{str(document)[:60]!r} is no {getattr(kind, '__name__', kind)}")


def _list(kind: object, document: Any, length: int | None = None) -> list[Any]:
    if not isinstance(document, list) or length not in (None, len(document)):
        raise _unfit(kind, document)
    return document


@cache
def _decoder(kind: Any) -> _Decoder:
    """The function that makes a ``kind`` of a document."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return lambda document: _one_of(kind, arguments, document)
    if origin in (Union, types.UnionType):
        return _union(arguments)
    if origin in (tuple, list, Sequence):
        return _sequence(kind, origin, arguments)
    if origin in (dict, Mapping):
        return _mapping(kind, arguments)
    if kind is object:
        return lambda document: document  # what JSON itself holds
    if kind is Fraction:
        return _fraction
    if is_dataclass(kind):
        return _dataclass(cast(type, kind))
    if kind not in (int, float, str, bool, types.NoneType):
        raise TypeError(f"{kind} cannot be kept as JSON")
    return lambda document: _plain(kind, document)


def _plain(kind: type, document: Any) -> Any:
    if type(document) is not kind:  # so that True is no int
        raise _unfit(kind, document)
    return document


def _one_of(kind: object, allowed: Sequence[object], document: Any) -> Any:
    if not isinstance(document, str) or document not in allowed:
        raise _unfit(kind, document)
    return document


def _fraction(document: Any) -> Fraction:
    if not isinstance(document, str) or len(document) > _LONGEST:
        raise _unfit(Fraction, document)
    over, slash, under = document.partition("/")
    if not slash or not int(under):
        raise _unfit(Fraction, document)
    return Fraction(int(over), int(under))


def _union(arguments: Sequence[Any]) -> _Decoder:
    """A decoder of ``X | None``: all unions here are of that form."""
    (wanted,) = (k for k in arguments if k is not types.NoneType)
    inner = _decoder(wanted)
    return lambda document: None if document is None else inner(document)


def _sequence(kind: Any, origin: Any, arguments: Sequence[Any]) -> _Decoder:
    made = list if origin is list else tuple
    if origin is tuple and arguments[-1] is not Ellipsis:
        inner = [_decoder(k) for k in arguments]
        return lambda document: tuple(
            make(entry)
            for make, entry in zip(inner, _list(kind, document, len(inner)), strict=True)
        )
    make = _decoder(arguments[0])
    return lambda document: made(map(make, _list(kind, document)))


def _mapping(kind: Any, arguments: Sequence[Any]) -> _Decoder:
    key, value = arguments[0], _decoder(arguments[1])
    if key not in (int, str):
        raise TypeError(f"{kind} cannot be kept as JSON")

    def make(document: Any) -> dict[Any, Any]:
        if not isinstance(document, dict):
            raise _unfit(kind, document)
        return {key(k): value(v) for k, v in document.items()}

    return make


def _dataclass(kind: type) -> _Decoder:
    hints = get_type_hints(kind)
    inner = [_decoder(hints[f.name]) for f in fields(kind)]

    def make(document: Any) -> Any:
        entries = _list(kind, document, len(inner))
        return kind(*(one(entry) for one, entry in zip(inner, entries, strict=True)))

    return make
