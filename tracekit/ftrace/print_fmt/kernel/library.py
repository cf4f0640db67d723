"""Functions of the kernel's own library that a print format may call: those without a state.

``include/linux/string_choices.h``, ``math64.h``, ``bitops.h``, ``err.h``, ``log2.h``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from tracekit.ftrace.kernel_printf.ctype import INT, LONG, U32, U64, IntType
from tracekit.ftrace.print_fmt import nodes
from tracekit.ftrace.print_fmt.compile import Compiler
from tracekit.ftrace.print_fmt.integer_calls import bits_set, first_set, mapped
from tracekit.ftrace.print_fmt.kernel.untrusted import untrusted_string
from tracekit.ftrace.print_fmt.values import (
    ARITHMETIC,
    Env,
    Number,
    Undetermined,
    Value,
    as_type,
    text_of,
)

__all__ = ["LIBRARY_CALLS"]

_Args = tuple[nodes.Node, ...]
_Build = Callable[[Compiler, _Args], Value]
_divide = ARITHMETIC["/"]

_CHOICES = (
    "yes no", "on off", "enabled disabled", "true false", "read write", "up down", "high low",
    "hi lo", "enable disable", "assert deassert", "input output", "connected disconnected",
)  # fmt: skip
_OTHER_CHOICES = ("write read", "low high", "lo hi", "off on", "down up", "false true")


def _chosen(true: str, false: str) -> _Build:
    return lambda compiler, args: text_of(
        compiler.number(args[0]), lambda value: true if value else false
    )


def _plural(compiler: Compiler, args: _Args) -> Value:
    return text_of(compiler.number(args[0]), lambda value: "" if value == 1 else "s")


def _of_two(
    name: str, type_: IntType, other: IntType, function: Callable[[int, int], int]
) -> _Build:
    def build(compiler: Compiler, args: _Args) -> Number:
        left = as_type(compiler.number(args[0]), type_).get
        right = as_type(compiler.number(args[1]), other).get

        def value(env: Env) -> int:
            a, b = left(env), right(env)
            try:
                return function(a, b)
            except ZeroDivisionError:
                raise Undetermined(f"{name}({a}, {b})") from None

        return Number(U64 if not type_.signed else LONG, value)

    return build


def _strlen(compiler: Compiler, args: _Args) -> Number:
    get = compiler.memory(args[0]).get
    return Number(U64, lambda env: len(bytes(get(env)).partition(b"\0")[0]))


def _bits() -> Iterator[tuple[str, _Build]]:
    for size in (8, 16, 32, 64):
        counted = mapped(int.bit_count, IntType(size // 8, False), INT, bits_set)
        yield f"hweight{size}", counted
        yield f"__arch_hweight{size}", counted
        yield f"__sw_hweight{size}", counted
    yield "hweight_long", mapped(int.bit_count, U64, INT, bits_set)
    last, first = int.bit_length, first_set
    for name, function, type_ in (
        ("fls", last, U32), ("fls64", last, U64), ("fls_long", last, U64),
        ("ffs", first, U32), ("variable_ffs", first, U32),
    ):  # fmt: skip
        yield name, mapped(function, type_, INT)
    # of 0 they are not defined
    for name, function, type_ in (
        ("__fls", last, U64), ("variable__fls", last, U64), ("__ilog2_u32", last, U32),
        ("__ilog2_u64", last, U64), ("__ffs", first, U64), ("variable__ffs", first, U64),
    ):  # fmt: skip
        yield name, _without_zero(name, function, type_)


def _without_zero(name: str, function: Callable[[int], int], type_: IntType) -> _Build:
    def place(value: int) -> int:
        if not value:
            raise Undetermined(f"{name}(0)")
        return function(value) - 1

    return mapped(place, type_, INT if "ilog" in name else U64)


#: name -> (function that compiles it, fewest arguments, most arguments)
LIBRARY_CALLS: Mapping[str, tuple[_Build, int, int]] = {
    **{
        f"str_{pair.replace(' ', '_')}": (_chosen(*pair.split()), 1, 1)
        for pair in (*_CHOICES, *_OTHER_CHOICES)
    },
    "yesno": (_chosen("yes", "no"), 1, 1),  # drivers' own, before str_yes_no() of 5.18
    "onoff": (_chosen("on", "off"), 1, 1),
    "str_plural": (_plural, 1, 1),
    **{name: (build, 1, 1) for name, build in _bits()},
    "div_u64": (_of_two("div_u64", U64, U32, _divide), 2, 2),
    "div64_u64": (_of_two("div64_u64", U64, U64, _divide), 2, 2),
    "div_s64": (_of_two("div_s64", LONG, INT, _divide), 2, 2),
    "div64_s64": (_of_two("div64_s64", LONG, LONG, _divide), 2, 2),
    "mul_u32_u32": (_of_two("mul_u32_u32", U32, U32, ARITHMETIC["*"]), 2, 2),
    "strlen": (_strlen, 1, 1),
    "__trace_print_untrusted_str": (untrusted_string, 3, 3),
}  # fmt: skip
