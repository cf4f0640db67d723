"""What all decoders share: the forms of their calls, and their arguments.

A call's first arguments say where the kernel makes the text, and so how old it is at most:
``decode(a, b)`` is a static array of the function, ``decode(__get_str(str), 500, a, b)`` a place in
the record (5.15, and stable kernels before), ``decode(__get_buf(500), 500, a, b)`` one of the
reader (6.4). Only some functions are given its size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import NamedTuple

from tracekit.ftrace.format import EventFormat
from tracekit.ftrace.kernel_printf.ctype import INT, U64, IntType, wrap
from tracekit.ftrace.print_fmt import nodes
from tracekit.ftrace.print_fmt.compile import Compiler
from tracekit.ftrace.print_fmt.values import (
    Env,
    Number,
    Text,
    Unresolved,
    Value,
    apply,
    as_type,
    constant,
    shift,
    text_of,
)

__all__ = ["Builder", "Form", "Kernel", "Show", "decoder", "letters", "naming"]

_Args = tuple[nodes.Node, ...]
#: (the function that compiles a call, fewest arguments, most arguments)
Builder = tuple[Callable[[Compiler, _Args], Value], int, int]
#: What a function prints of its arguments.
Show = Callable[..., str]

_ANY = 1 << 20
_MOST = 8  # bytes that the arguments of a text that programs look up have together


class Form(Enum):
    """Where the text is made."""

    STATIC = 0
    RECORD = 1
    READER = 2


_PLACES = {"__get_str": Form.RECORD, "__get_dynamic_array": Form.RECORD, "__get_buf": Form.READER}


class Kernel(NamedTuple):
    """What is known of the kernel that a call is of; its version only where it was saved."""

    form: Form
    fmt: EventFormat
    version: tuple[int, int] | None

    def since(self, *version: int) -> bool | None:
        """Whether it is that version or a newer one."""
        return None if self.version is None else self.version >= version


def _form(name: str, args: _Args, count: int, sized: bool) -> tuple[Form, _Args]:
    """The form of a call, and what it has before its ``count`` arguments.

    Raises :class:`Unresolved` for a form that no kernel is known to have.
    """
    if len(args) == count:
        return Form.STATIC, ()
    place = args[0].name if args and isinstance(args[0], nodes.Call) else ""
    if place not in _PLACES or len(args) != count + 1 + sized:
        raise Unresolved(f"{name}()")
    return _PLACES[place], args[: 1 + sized]


def _packed(numbers: Sequence[Number]) -> Number:
    """The numbers as one, the first on top."""
    whole = as_type(numbers[0], U64)
    for number in numbers[1:]:
        above = shift("<<", whole, constant(INT, 8 * number.type.size))
        whole = apply("|", above, as_type(number, U64), U64)
    return whole


def _text(numbers: Sequence[Number], show: Show) -> Text:
    """What ``show`` prints of the numbers, which are unsigned."""
    sizes = [8 * number.type.size for number in numbers]
    if sum(sizes) > 8 * _MOST:
        gets = [number.get for number in numbers]

        def text(env: Env) -> str:
            return show(*[get(env) for get in gets])

        return Text(text)

    def of_packed(whole: int) -> str:
        values: list[int] = []
        for size in reversed(sizes):
            values.append(whole & (1 << size) - 1)
            whole >>= size
        return show(*reversed(values))

    return text_of(_packed(numbers), of_packed)


def decoder(
    name: str, types: Sequence[IntType], make: Callable[[Kernel], Show], sized: bool = False
) -> Builder:
    """A function of numbers of these unsigned types, which ``make`` gives for a kernel.

    ``sized``: it is given the size of the text's place, where that is not its own.
    """

    def build(compiler: Compiler, args: _Args) -> Text:
        form, before = _form(name, args, len(types), sized)
        show = make(Kernel(form, compiler.fmt, compiler.ctx.version))
        rest = args[len(before) :]
        numbers = [as_type(compiler.number(a), t) for a, t in zip(rest, types, strict=True)]
        if len(before) < 2:
            return _text(numbers, show)
        size = compiler.number(before[1]).const
        if size is None:
            raise Unresolved(f"{name}()")
        longest = max(0, size - 1)
        return _text(numbers, lambda *values: show(*values)[:longest])

    return build, 0, _ANY


def naming(type_: IntType, name: Callable[[int, EventFormat], str]) -> Builder:
    """A function that names a number of that C type, given also the format it is called in."""

    def build(compiler: Compiler, args: _Args) -> Text:
        fmt = compiler.fmt
        number = as_type(compiler.number(args[0]), type_)
        return text_of(number, lambda value: name(wrap(value, type_), fmt))

    return build, 1, 1


def letters(word: int, bits: str) -> str:
    """Flags as ``I5 C0`` names them by letter and bit: a capital where the bit is set."""
    return ":".join(
        flag[0] if word >> int(flag[1:]) & 1 else flag[0].lower() for flag in bits.split()
    )
