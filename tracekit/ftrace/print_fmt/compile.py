"""Compiles the C expressions of a print format to closures over a record, once per format.

Anything the record does not determine (``jiffies``, kernel memory) raises
:class:`~tracekit.ftrace.print_fmt.values.Unresolved` while compiling. The values are those of
:mod:`tracekit.ftrace.print_fmt.values`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from operator import itemgetter
from typing import Any

from tracekit.ftrace.context import Context
from tracekit.ftrace.format import EventFormat
from tracekit.ftrace.kernel_printf.ctype import (
    INT,
    U8,
    U64,
    IntType,
    TypeName,
    common_type,
    converter,
    promote,
)
from tracekit.ftrace.print_fmt import nodes
from tracekit.ftrace.print_fmt.fields import RecordFields
from tracekit.ftrace.print_fmt.kernel_strings import is_array, strings_of
from tracekit.ftrace.print_fmt.structs import member_of, place_of
from tracekit.ftrace.print_fmt.values import (
    COMPARISONS,
    Env,
    Memory,
    Number,
    Text,
    Unresolved,
    Value,
    advanced,
    apply,
    as_type,
    constant,
    element_of,
    folded,
    is_true,
    literal_text,
    reading,
    shift,
    text_of,
    undetermined,
    united,
)
from tracekit.ftrace.programs.code import Code, converted, integer, node

__all__ = ["Caller", "Compiler"]

#: Compiles a function call that occurs in an expression.
Caller = Callable[["Compiler", nodes.Call], Value]

_MAX_EVAL_DEPTH = 120
_POINTER = 8
_PAGE_POINTER = TypeName(("struct", "page"), 1)
# TRACE_ITER_SYM_MASK, kernel/trace/trace.h: what the printing function is given as `flags`
_FLAGS, _AT_BOOT = {"print-parent": 1, "sym-offset": 2, "sym-addr": 4}, ("print-parent",)


class Compiler(RecordFields):
    """Compiles the expressions of one format, given the record's layout and the known names."""

    def __init__(
        self, fmt: EventFormat, ctx: Context, constants: Mapping[str, int], caller: Caller
    ) -> None:
        super().__init__(fmt)
        self.ctx = ctx
        self.constants = constants
        self.caller = caller
        self.locals: dict[str, tuple[int, Value]] = {}
        self.pushed = 0  # number of locals at the end of the environment
        self.depth = 0
        self.lenient = False  # a condition of which one way is unknown is known, for some records

    def number(self, node: nodes.Node) -> Number:
        """Compile an expression that must be an integer."""
        value = self.value(node)
        if isinstance(value, Number):
            return value
        raise Unresolved("address" if isinstance(value, Memory) else "string")

    def truth(self, node: nodes.Node) -> Number:
        """Compile a condition: an integer of any type; memory and strings are always true."""
        value = self.value(node)
        return value if isinstance(value, Number) else constant(INT, 1)

    def memory(self, node: nodes.Node) -> Memory:
        """Compile an expression that must point into the record."""
        value = self.value(node)
        if isinstance(value, Memory):
            return value
        raise Unresolved("kernel memory")

    def value(self, node: nodes.Node) -> Value:
        """Compile any expression. Raises :class:`Unresolved`, also where it is nested too deep."""
        self.depth += 1
        try:
            if self.depth > _MAX_EVAL_DEPTH:
                raise Unresolved("expression")
            return self._value(node)
        finally:
            self.depth -= 1

    def _value(self, node: nodes.Node) -> Value:
        match node:
            case nodes.Num(value, type_):
                return constant(type_, value)
            case nodes.Str(text):
                return literal_text(text)
            case nodes.Ident(name):
                return self._ident(name)
            case nodes.Member():
                return self._member(node)
            case nodes.Index():
                return self._index(node)
            case nodes.Unary():
                return self._unary(node)
            case nodes.Binary():
                return self._binary(node)
            case nodes.Cond():
                return self._cond(node)
            case nodes.Cast():
                return self._cast(node.type, node.operand)
            case nodes.SizeofType(type_name):
                if is_array(array := nodes.Ident(" ".join(type_name.words))):
                    return self._sizeof_expr(array)
                return self._sizeof(self.sizeof(type_name), "sizeof")
            case nodes.SizeofExpr():
                return self._sizeof_expr(node.operand)
            case nodes.Let():
                return self._let(node)
            case nodes.Call():
                return self.caller(self, node)
            case nodes.Braces() | nodes.Compound() | nodes.Printed():
                raise Unresolved("{…}")

    def _ident(self, name: str) -> Value:
        if name in self.locals:
            position, local = self.locals[name]
            code = node("span" if isinstance(local, Memory) else "local", position)
            code = None if local.code is None or isinstance(local, Text) else code
            return reading(local, itemgetter(position - self.pushed), code)
        if name == "REC":
            return Memory(lambda env: env[0], None, node("tail", 0))
        if name in self.constants:
            number = self.constants[name]
            return constant(INT if -(1 << 31) <= number < 1 << 31 else U64, number)
        if name == "flags":  # of trace_raw_output_…(): options, those at boot if none were saved
            return constant(INT, sum(_FLAGS.get(o, 0) for o in self.ctx.options or _AT_BOOT))
        if not name.isupper():  # no macro or enumerator: perhaps a label, as _stext
            address = self.ctx.symbols.code(name)
            if address is not None:
                return constant(U64, address, 1)
        raise Unresolved(name)

    def _member(self, node: nodes.Member) -> Value:
        f = self.record_field(node)
        if f is not None:
            return self.field(f)
        if (member := member_of(node, self)) is not None:
            return self.value(member)
        raise Unresolved(node.name)

    def _index(self, node: nodes.Index) -> Value:
        index = self.number(node.index)
        f = self.record_field(node.base)
        if f is not None and f.length and index.const is not None and 0 <= index.const < f.length:
            if f.element not in (1, 2, 4, 8):
                raise Unresolved(f.name)
            return self.slot(f.offset + f.element * index.const, IntType(f.element, f.signed))
        if (text := strings_of(node.base, self.ctx.version)) is not None:
            return text_of(index, text)
        if (member := member_of(node, self)) is not None:
            return self.value(member)
        base = self.value(node.base)
        if isinstance(base, Text) and base.const is not None:
            raw = base.const.encode("utf-8", "replace") + b"\0"
            base = Memory(lambda _env: raw, U8)  # no code: it is not in the record
        if not isinstance(base, Memory):
            raise Unresolved("kernel memory")
        return element_of(base, index)

    def _unary(self, syntax: nodes.Unary) -> Value:
        if syntax.op == "&":
            return self._address(syntax.operand)
        if syntax.op == "*":
            return element_of(self.memory(syntax.operand), constant(INT, 0))
        if syntax.op == "!":
            operand = self.truth(syntax.operand)
            get = operand.get
            code = node("unary", "NOT", operand.code)
            return folded(Number(INT, lambda env: int(not get(env)), code=code), operand)
        operand = self.number(syntax.operand)
        type_ = promote(operand.type)
        operand = as_type(operand, type_)
        get, to = operand.get, converter(type_)
        if syntax.op == "+" or to is None:
            return operand
        code = converted(
            node("unary", "INVERT" if syntax.op == "~" else "NEGATE", operand.code), type_
        )
        if syntax.op == "~":
            return folded(Number(type_, lambda env: to(~get(env)), code=code), operand)
        return folded(Number(type_, lambda env: to(-get(env)), code=code), operand)

    def _address(self, operand: nodes.Node) -> Memory:
        """``&operand``: a pointer into the record."""
        if isinstance(operand, nodes.Index):
            return advanced(self.memory(operand.base), self.number(operand.index))
        f = self.record_field(operand)
        if f is None:
            return self.memory(place_of(operand, self))
        if f.length is not None and not f.loc:
            value = self.field(f)
            if isinstance(value, Memory):
                return value
        element = IntType(f.size, f.signed) if f.size in (1, 2, 4, 8) else None
        return self.fixed(f, element)

    def _binary(self, node: nodes.Binary) -> Value:
        op = node.op
        if op in ("&&", "||"):
            return self._logical(op, self.truth(node.left), node.right)
        left, right = self._page_array(node.left), self.value(node.right)
        if op == "+" and isinstance(left, Memory) and isinstance(right, Number):
            return advanced(left, right)
        if not isinstance(left, Number) or not isinstance(right, Number):
            raise Unresolved("address arithmetic")
        if op in ("<<", ">>"):
            return shift(op, left, right)
        if op in COMPARISONS:
            type_ = common_type(left.type, right.type)
            return apply(op, as_type(left, type_), as_type(right, type_), INT)
        pointee = left.pointee if left.pointee is not None else right.pointee
        if pointee is not None and op in "+-":
            return self._pointer_sum(op, left, right)
        type_ = common_type(left.type, right.type)
        return apply(op, as_type(left, type_), as_type(right, type_), type_)

    def _page_array(self, node: nodes.Node) -> Value:
        """The left side of a sum; an unknown array of ``struct page`` begins at 0.

        Where it is differs by boot; what is left is the page's offset in it, as with
        ``vmemmap_base``.
        """
        try:
            return self.value(node)
        except Unresolved:
            start = node
            while isinstance(start, nodes.Binary) and start.op in ("+", "-"):
                start = start.left
            if isinstance(start, nodes.Cast) and start.type == _PAGE_POINTER:
                return constant(U64, 0, self.sizeof(TypeName(("struct", "page"))))
            raise

    def _pointer_sum(self, op: str, left: Number, right: Number) -> Number:
        if left.pointee is None:
            left, right = right, left
        size = left.pointee
        if not size or right.pointee is not None:
            raise Unresolved("address arithmetic")
        by = apply("*", as_type(right, U64), constant(U64, size), U64)
        return replace(apply(op, as_type(left, U64), by, U64), pointee=size)

    def _logical(self, op: str, left: Number, right_node: nodes.Node) -> Number:
        decided = op == "||"
        if left.const is not None and bool(left.const) == decided:
            return constant(INT, int(decided))
        right = self.truth(right_node)
        a, b = left.get, right.get
        if op == "&&":
            code = node("if", left.code, is_true(right), integer(0))
            return folded(Number(INT, lambda e: int(bool(a(e) and b(e))), code=code), left, right)
        code = node("if", left.code, integer(1), is_true(right))
        return folded(Number(INT, lambda e: int(bool(a(e) or b(e))), code=code), left, right)

    def _cond(self, syntax: nodes.Cond) -> Value:
        test = self.truth(syntax.test)
        while test.const == 0 and isinstance(syntax.other, nodes.Cond):  # log2() is 64 of them
            syntax = syntax.other
            test = self.truth(syntax.test)
        if test.const is not None:
            return self._decided(syntax, bool(test.const))
        then, other = self._ways(syntax)
        ask = test.get
        if isinstance(then, Number) and isinstance(other, Number):
            type_, pointee = united(then, other)
            then, other = as_type(then, type_), as_type(other, type_)
            a, b = then.get, other.get
            code = node("if", test.code, then.code, other.code)
            return Number(type_, lambda env: a(env) if ask(env) else b(env), None, pointee, code)
        code = node("if", test.code, then.code, other.code)
        if isinstance(then, Text) and isinstance(other, Text):
            yes, no = then.get, other.get
            return Text(lambda env: yes(env) if ask(env) else no(env), code=code)
        if isinstance(then, Memory) and isinstance(other, Memory):
            c, d = then.get, other.get
            return Memory(lambda env: c(env) if ask(env) else d(env), then.element, code)
        raise Unresolved("condition with unlike results")

    def _ways(self, syntax: nodes.Cond) -> tuple[Value, Value]:
        """Both results; where it is ``lenient``, one of them may be unknown."""
        try:
            then = self.value(syntax.then)
        except Unresolved as missing:
            if not self.lenient:
                raise
            other = self.value(syntax.other)
            return undetermined(str(missing), other), other
        try:
            return then, self.value(syntax.other)
        except Unresolved as missing:
            if not self.lenient:
                raise
            return then, undetermined(str(missing), then)

    def _decided(self, node: nodes.Cond, which: bool) -> Value:
        """A condition known at compile time: one result's value with the common type of both."""
        chosen = self.value(node.then if which else node.other)
        try:
            rejected = self.value(node.other if which else node.then)
        except Unresolved:
            return chosen
        if isinstance(chosen, Number) and isinstance(rejected, Number):
            then, other = (chosen, rejected) if which else (rejected, chosen)
            return as_type(chosen, *united(then, other))
        return chosen

    def _cast(self, type_: TypeName | nodes.TypeOf, operand: nodes.Node) -> Value:
        value = self.value(operand)
        if isinstance(type_, nodes.TypeOf):
            model = self.number(type_.operand)
            if not isinstance(value, Number):
                raise Unresolved("address")
            return as_type(value, model.type, model.pointee)
        if isinstance(value, Number):
            if type_.stars:
                pointed = TypeName(type_.words, type_.stars - 1)
                return as_type(value, U64, self.sizeof(pointed))
            target = self.int_type(type_)
            return value if target is None else as_type(value, target)
        if not type_.stars:
            raise Unresolved("address")
        if isinstance(value, Memory):
            element = self.int_type(TypeName(type_.words, type_.stars - 1))
            return replace(value, element=element)
        return value

    def _sizeof(self, size: int, name: str) -> Number:
        if not size:
            raise Unresolved(name)
        return constant(U64, size)

    def _sizeof_expr(self, node: nodes.Node) -> Number:
        f = self.record_field(node)
        if f is not None:
            return self._sizeof(f.size, f.name)
        if isinstance(node, nodes.Unary) and node.op == "*":
            pointer = self.value(node.operand)
            if isinstance(pointer, Number) and pointer.pointee is not None:
                return self._sizeof(pointer.pointee, "sizeof")
        if is_array(node):  # how many differs by kernel: as many as are asked for
            return constant(U64, _POINTER << 8)
        if isinstance(node, nodes.Index) and is_array(node.base):
            return constant(U64, _POINTER)
        value = self.value(node)
        return self._sizeof(value.type.size if isinstance(value, Number) else 0, "sizeof")

    def _let(self, syntax: nodes.Let) -> Value:
        """Compute each local once and append it to the environment."""
        outer, pushed = dict(self.locals), self.pushed
        gets: list[Callable[[Env], Any]] = []
        settings: list[Code | None] = []
        try:
            for name, type_, initial in syntax.declarations:
                value = self.value(initial) if type_ is None else self._cast(type_, initial)
                gets.append(value.get)
                kind = "set_span" if isinstance(value, Memory) else "set"
                settings.append(node(kind, self.pushed, value.code))
                self.locals[name] = (self.pushed, value)
                self.pushed += 1
            result = self.value(syntax.result)
        finally:
            self.locals, self.pushed = outer, pushed
        inner = result.get

        def get(env: Env) -> Any:
            for get_local in gets:
                env = (*env, get_local(env))
            return inner(env)

        code = None if None in settings else node("let", tuple(settings), result.code)
        return reading(result, get, code)
