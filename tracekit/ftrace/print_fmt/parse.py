"""Parser for the C expressions of ``print fmt`` lines: text -> a small syntax tree.

A print format is the arguments of ``TP_printk()`` after preprocessing: a format string and C
expressions over ``REC``. The text is untrusted: anything not understood raises
:class:`~tracekit.errors.FormatError`, and nesting, length and number of tokens are bounded.
"""

from __future__ import annotations

from tracekit.errors import FormatError
from tracekit.ftrace.kernel_printf.ctype import INT, TYPE_WORDS, U64, TypeName
from tracekit.ftrace.print_fmt.nodes import (
    Binary,
    Braces,
    Call,
    Cast,
    Compound,
    Cond,
    Ident,
    Index,
    Let,
    Member,
    Node,
    Num,
    SizeofExpr,
    SizeofType,
    Str,
    TypeOf,
    Unary,
)
from tracekit.ftrace.print_fmt.printed_block import PrintedReader
from tracekit.ftrace.print_fmt.switch import MAX_DEPTH
from tracekit.ftrace.print_fmt.tokens import closing, number, unescape

__all__ = ["MAX_DEPTH", "parse_arguments", "parse_call", "parse_expression"]

_LEVELS = {
    "||": 1, "&&": 2, "|": 3, "^": 4, "&": 5, "==": 6, "!=": 6, "<": 7, ">": 7, "<=": 7, ">=": 7,
    "<<": 8, ">>": 8, "+": 9, "-": 9, "*": 10, "/": 10, "%": 10,
}  # fmt: skip
_QUALIFIERS = frozenset(
    {"const", "volatile", "__user", "__force", "__iomem", "__percpu", "__rcu", "__bitwise"}
)
_TYPEOF = frozenset({"typeof", "__typeof__"})
_ANY_POINTER = TypeName(("void",), 1)
_CHECKS = frozenset({":", "_Static_assert"})
_STATEMENTS = frozenset({"do", "if", "extern", "_Static_assert", "static_assert"})


def _or_else(test: Node, other: Node) -> Node:
    """``test ?: other``, which computes ``test`` once."""
    if isinstance(test, Member) and isinstance(test.base, Ident):
        return Cond(test, test, other)
    once = Ident("?:")
    return Let((("?:", None, test),), Cond(once, once, other))


class _Parser(PrintedReader):
    """Recursive descent with precedence climbing over one token list."""

    def expression(self) -> Node:
        """An assignment expression: everything but the comma operator."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.fail(f"at most {MAX_DEPTH} levels of nesting")
        chain: list[tuple[Node, Node | None]] = []
        while True:
            last = self.binary(1)
            if not self.accept("?"):
                break
            if self.accept(":"):
                chain.append((last, None))
            else:
                chain.append((last, self.expression()))
                self.expect(":")
        for test, then in reversed(chain):
            last = _or_else(test, last) if then is None else Cond(test, then, last)
        self.depth -= 1
        return last

    def binary(self, level: int) -> Node:
        left = self.unary()
        while True:
            token = self.tokens[self.pos]
            precedence = _LEVELS.get(token.text, 0) if token.kind == "op" else 0
            if precedence < level:
                return left
            self.pos += 1
            left = Binary(token.text, left, self.binary(precedence + 1))

    def unary(self) -> Node:
        token = self.tokens[self.pos]
        if token.kind == "op" and token.text in "-+~!*&":
            self.pos += 1
            return Unary(token.text, self.nested_unary())
        if token.kind == "id" and token.text == "sizeof":
            self.pos += 1
            if self.peek("(") and self.peek("struct", 1) and self.peek("{", 2):
                return self.empty_struct()
            type_ = self.bracketed_type()
            if type_ is None:
                return SizeofExpr(self.nested_unary())
            return SizeofExpr(type_.operand) if isinstance(type_, TypeOf) else SizeofType(type_)
        start = self.pos
        type_ = self.bracketed_type()
        if isinstance(type_, TypeName) and self.peek("{") and self.peek(".", 1):
            return self.compound()
        if type_ is not None and self.is_cast(type_):
            return Cast(type_, self.nested_unary())
        self.pos = start
        return self.postfix()

    def empty_struct(self) -> Node:
        """``sizeof(struct { … })``, the compile-time check of BUILD_BUG_ON_ZERO(), of size 0."""
        end = closing(self.tokens, self.pos)
        if end is None or not any(t.text in _CHECKS for t in self.tokens[self.pos : end]):
            raise self.fail("the size of a type")
        self.pos = end + 1
        return Num(0, U64)

    def compound(self) -> Node:
        """``{ .member = value }`` behind its type."""
        self.pos += 2
        name = self.ident()
        self.expect("=")
        value = self.expression()
        self.accept(",")
        self.expect("}")
        return Compound(name, value)

    def nested_unary(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.fail(f"at most {MAX_DEPTH} levels of nesting")
        node = self.unary()
        self.depth -= 1
        return node

    def is_cast(self, type_: TypeName | TypeOf) -> bool:
        """True if ``(type_)``, just read, is a cast; False if it is a variable in parentheses."""
        if isinstance(type_, TypeOf) or type_.stars or len(type_.words) != 1:
            return True
        if type_.words[0] in TYPE_WORDS or type_.words[0] == "REC":
            return type_.words[0] != "REC"
        after = self.tokens[self.pos]  # a name not known as a type: an operand must follow
        return after.kind in ("id", "num", "str", "chr") or after.text in ("(", "~", "!")

    def bracketed_type(self) -> TypeName | TypeOf | None:
        """Read ``(type)``; if there is none, leave the position alone."""
        start = self.pos
        if self.accept("("):
            committed = self.tokens[self.pos].text in _TYPEOF
            type_ = self.type_name()
            if type_ is not None and self.accept(")"):
                return type_
            if committed:  # nothing else starts like this, and retries at every level take forever
                raise self.fail("')'")
        self.pos = start
        return None

    def type_name(self) -> TypeName | TypeOf | None:
        """Read a type name: known words, or one unknown word, then stars."""
        words: list[str] = []
        typeof: TypeName | TypeOf | None = None
        while self.tokens[self.pos].kind == "id":
            word = self.tokens[self.pos].text
            if word in _TYPEOF and not words:
                typeof = self.typeof()
                break
            if len(words) == 1 and words[0] not in TYPE_WORDS:
                return None
            self.pos += 1
            if word not in _QUALIFIERS:
                words.append(word)
        stars = 0
        while self.peek("*") or self.tokens[self.pos].text in _QUALIFIERS:
            stars += self.peek("*")
            self.pos += 1
        if isinstance(typeof, TypeName):
            return TypeName(typeof.words, typeof.stars + stars)
        if typeof is not None:
            return TypeName(("void",), stars) if stars else typeof
        return TypeName(tuple(words), stars) if words else None

    def typeof(self) -> TypeName | TypeOf:
        """Read ``typeof(type)`` or ``typeof(expression)``."""
        self.pos += 1
        type_ = self.bracketed_type()
        if type_ is not None and (isinstance(type_, TypeOf) or type_.words[0] in TYPE_WORDS):
            return type_
        if type_ is not None and not type_.stars and len(type_.words) == 1:
            return TypeOf(Ident(type_.words[0]))
        self.expect("(")
        node = self.expression()
        self.expect(")")
        return TypeOf(node)

    def postfix(self) -> Node:
        node = self.primary()
        while True:
            if self.accept("->") or self.accept("."):
                name = self.ident()
                if isinstance(node, Compound) and node.member == name:
                    node = node.value
                else:
                    node = Member(node, name)
            elif self.accept("["):
                node = Index(node, self.expression())
                self.expect("]")
            elif self.peek("(") and isinstance(node, Ident):
                self.pos += 1
                compared = node.name == "__builtin_types_compatible_p"
                node = Call(node.name, self.types() if compared else self.items(")"))
            else:
                return node

    def types(self) -> tuple[Node, ...]:
        """Two types up to a bracket, each as an expression of that type."""
        found: list[Node] = []
        for closer in (",", ")"):
            type_ = self.type_name()
            if type_ is None:
                raise self.fail("a type")
            value = type_.operand if isinstance(type_, TypeOf) else Cast(type_, Num(0, INT))
            found.append(value)
            self.expect(closer)
        return tuple(found)

    def items(self, closer: str) -> tuple[Node, ...]:
        """Comma-separated expressions or brace lists up to ``closer``; a last comma is allowed."""
        out: list[Node] = []
        while not self.accept(closer):
            out.append(self.item())
            if not self.accept(","):
                self.expect(closer)
                break
        return tuple(out)

    def item(self) -> Node:
        if not self.accept("{"):
            return self.expression()
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.fail(f"at most {MAX_DEPTH} levels of nesting")
        node = Braces(self.items("}"))
        self.depth -= 1
        return node

    def primary(self) -> Node:
        token = self.tokens[self.pos]
        if token.kind == "str":
            return Str(self.string())
        if self.accept("("):
            if self.accept("{"):
                return self.printed() or self.statements()
            node = self.expression()
            while self.accept(","):  # what is before has no effect
                node = self.expression()
            self.expect(")")
            return node
        self.pos += 1
        if token.kind == "num":
            return number(token.text)
        if token.kind == "chr":
            return Num(ord(unescape(token.text[1:-1])[:1]) & 0xFF, INT)
        if token.kind == "id":
            return Ident(token.text)
        self.pos -= 1
        raise self.fail("an expression")

    def statements(self) -> Node:
        """The inside of ``({ … })``: declarations and checks without a value, then the result."""
        declarations: list[tuple[str, TypeName | TypeOf | None, Node]] = []
        chosen: dict[str, Node] = {}
        types: dict[str, TypeName] = {}
        while True:
            token = self.tokens[self.pos]
            if self.accept("}"):  # nothing but checks
                self.expect(")")
                return Let(tuple(declarations), Num(0, INT))
            if token.kind == "id" and token.text in _STATEMENTS:
                self.skip_statement()
            elif self.peek("switch"):
                name, value = self.switch()
                type_ = types.get(name, _ANY_POINTER)
                chosen[name] = value if type_.stars else Cast(type_, value)
            elif (declared := self.declared_type()) is not None:
                name = self.ident()
                if self.accept("="):
                    declarations.append((name, declared[0], self.expression()))
                elif isinstance(declared[0], TypeName):
                    types[name] = declared[0]
                self.expect(";")
            else:
                result = self.expression()
                self.expect(";")
                if self.accept("}"):
                    self.expect(")")
                    if isinstance(result, Ident):
                        result = chosen.get(result.name, result)
                    return Let(tuple(declarations), result)

    def declared_type(self) -> tuple[TypeName | TypeOf | None] | None:
        """Read the type of ``type name = …``, up to the name; None if there is no declaration.

        Without a value, a word that is known must start it: ``a * b;`` is an expression.

        ``(None,)`` stands for a type taken from the value.
        """
        start = self.pos
        while self.tokens[self.pos].text in _QUALIFIERS:
            self.pos += 1
        if self.accept("__auto_type"):
            return (None,)
        if self.tokens[self.pos].text in _TYPEOF:
            return (self.typeof(),)
        ends = ("=", ";") if self.tokens[self.pos].text in TYPE_WORDS else ("=",)
        for position in range(self.pos + 1, min(self.pos + 8, len(self.tokens) - 1)):
            if self.tokens[position].kind == "op" and self.tokens[position].text == "*":
                continue
            if self.tokens[position].kind != "id":
                break
            if self.tokens[position + 1].text in ends:
                words = [t.text for t in self.tokens[self.pos : position] if t.kind == "id"]
                stars = position - self.pos - len(words)
                self.pos = position
                return (TypeName(tuple(w for w in words if w not in _QUALIFIERS), stars),)
        self.pos = start
        return None

    def skip_statement(self) -> None:
        """Skip a statement that has no value: a compile-time assertion."""
        nesting = 0
        while self.tokens[self.pos].kind != "end":
            text = self.tokens[self.pos].text
            nesting += (text in ("(", "{")) - (text in (")", "}"))
            self.pos += 1
            if text == ";" and nesting == 0:
                return
            if nesting < 0:
                break
        raise self.fail("';'")

    def opaque(self) -> Node:
        """Skip an argument that is not understood, brackets and all."""
        while not self.at_end() and not self.peek(","):
            end = closing(self.tokens, self.pos)
            if end is None or self.tokens[self.pos].text in (")", "]", "}"):
                raise self.fail("brackets in pairs")
            self.pos = end + 1
        self.depth = 0
        return Ident("expression")


def parse_expression(text: str, source: str = "expression") -> Node:
    """Parse one C expression. Raises :class:`~tracekit.errors.FormatError`."""
    parser = _Parser(text, source)
    node = parser.expression()
    if not parser.at_end():
        raise parser.fail("the end")
    return node


def _arguments(parser: _Parser, lenient: bool = False) -> tuple[Node, ...]:
    """The arguments after the format string; ``lenient`` accepts any."""
    args: list[Node] = []
    while not parser.at_end():
        parser.expect(",")
        start = parser.pos
        try:
            args.append(parser.item())
            if not lenient or parser.at_end() or parser.peek(","):
                continue
            args.pop()
        except FormatError:
            if not lenient:
                raise
        parser.pos = start
        args.append(parser.opaque())
    return tuple(args)


def parse_arguments(text: str, source: str) -> tuple[Node, ...]:
    """Parse ``, ARGUMENT, ...``. Raises :class:`~tracekit.errors.FormatError`."""
    return _arguments(_Parser(text, source))


def parse_call(text: str, source: str, *, lenient: bool = False) -> tuple[str, tuple[Node, ...]]:
    """Parse ``"FORMAT", ARGUMENT, ...``; ``lenient`` accepts arguments beyond the grammar.

    Raises :class:`~tracekit.errors.FormatError`.
    """
    parser = _Parser(text, source)
    return parser.string(), _arguments(parser, lenient)
