"""Parser of a block that prints into the line itself: ``({ … trace_seq_printf(p, "…", …); … })``.

``arch/x86/kvm/mmu/mmutrace.h`` has one: it takes a word of the record apart by a union of
bit-fields, and names one of them by an array of strings. It stands for ``%s``; what it prints
becomes part of the line. Blocks of other kinds are beyond the grammar.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

from tracekit.ftrace.kernel_printf.ctype import INT, TypeName
from tracekit.ftrace.print_fmt.nodes import (
    Binary,
    Braces,
    Cast,
    Ident,
    Member,
    Node,
    Num,
    Printed,
)
from tracekit.ftrace.print_fmt.switch import SwitchReader

__all__ = ["PrintedReader"]

#: Bit-field -> (first bit, bits) of ``union kvm_mmu_page_role``, arch/x86/include/asm/kvm_host.h,
#: by how many strings the format has for its access bits: 8 up to Linux 6.12 at least, 16 in 7.2.
#: Kernels that had other bits in between had none of ``_TELLS``; older ones called two otherwise.
_ROLES: Mapping[int, Mapping[str, tuple[int, int]]] = {
    8: {
        "level": (0, 4), "has_4_byte_gpte": (4, 1), "quadrant": (5, 2), "direct": (7, 1),
        "access": (8, 3), "invalid": (11, 1), "efer_nx": (12, 1), "ad_disabled": (16, 1),
        "gpte_is_8_bytes": (4, 1), "nxe": (12, 1),
    },
    16: {
        "level": (0, 4), "has_4_byte_gpte": (4, 1), "quadrant": (5, 2), "direct": (7, 1),
        "access": (8, 4), "invalid": (12, 1), "efer_nx": (13, 1), "ad_disabled": (16, 1),
    },
}  # fmt: skip
_UNION = "kvm_mmu_page_role"
_TELLS = ("has_4_byte_gpte", "gpte_is_8_bytes")
_WORD = TypeName(("u32",), 0)
_MAX_DEPTH = 100


class PrintedReader(SwitchReader):
    """Reads such a block; its expressions and lists are the parser's."""

    _open = False  # a block is being read

    def items(self, closer: str) -> tuple[Node, ...]:
        """Expressions up to ``closer``."""
        raise NotImplementedError

    def printed(self) -> Node | None:
        """Read the block behind ``({``, if it begins as one."""
        begins = ("const", "char", "*", None, "=", "trace_seq_buffer_ptr")
        if not all(word is None or self.peek(word, n) for n, word in enumerate(begins)):
            return None
        if self._open:
            raise self.fail("no block inside of a block that prints")
        self._open = True
        try:
            return self._block(len(begins))
        finally:
            self._open = False

    def _block(self, begins: int) -> Node:
        saved = self.tokens[self.pos + 3].text
        self.pos += begins
        self.expect("(", "p", ")", ";")
        strings, unions, words = dict[str, Braces](), dict[str, str](), dict[str, Node]()
        template, args = "", tuple[Node, ...]()
        while not self.accept(saved):
            if self.accept("static"):
                name, values = self._strings()
                strings[name] = values
            elif self.accept("union"):
                tag = self.ident()
                unions[self.ident()] = tag
            elif self.accept("trace_seq_printf"):
                self.expect("(", "p", ",")
                template += self.string()
                args += self.items(")") if self.accept(",") else self._none()
            else:
                words.update([self._word()])
            self.expect(";")
        self.expect(";", "}", ")")
        if template.endswith("%c") and args[-1:] == (Num(0, INT),):  # the text's end
            template, args = template[:-2], args[:-1]
        change = self._local(strings, unions, words)
        return Printed(template, tuple(self._replaced(arg, change) for arg in args))

    def _none(self) -> tuple[Node, ...]:
        self.expect(")")
        return ()

    def _strings(self) -> tuple[str, Braces]:
        """Read ``const char *NAME[] = { "…", … }``."""
        self.expect("const", "char", "*")
        name = self.ident()
        self.expect("[", "]", "=", "{")
        values = self.items("}")
        if len(values) not in _ROLES:
            raise self.fail("an array of as many strings as a kernel has")
        return name, Braces(values)

    def _word(self) -> tuple[str, Node]:
        """Read ``NAME.word = REC->FIELD``."""
        name = self.ident()
        self.expect(".", "word", "=", "REC", "->")
        return name, Member(Ident("REC"), self.ident())

    def _local(
        self, strings: Mapping[str, Braces], unions: Mapping[str, str], words: Mapping[str, Node]
    ) -> Callable[[Node], Node | None]:
        """What stands for a name that is declared in the block, or for a bit-field of one."""
        if len(strings) > 1 or any(unions.get(name) != _UNION for name in words):
            raise self.fail(f"one array of strings and union {_UNION}")
        layout = _ROLES[len(values.items)] if (values := next(iter(strings.values()), None)) else {}
        if words and not any(token.text in _TELLS for token in self.tokens):
            raise self.fail(_TELLS[0])

        def changed(node: Node) -> Node | None:
            if isinstance(node, Ident):
                return strings.get(node.name)
            if not isinstance(node, Member) or not isinstance(node.base, Ident):
                return None
            word = words.get(node.base.name)
            if word is None or node.name not in layout:
                return None
            first, bits = layout[node.name]
            moved = Binary(">>", Cast(_WORD, word), Num(first, INT))
            return Binary("&", moved, Num((1 << bits) - 1, INT))

        return changed

    def _replaced(self, node: Node, change: Callable[[Node], Node | None], depth: int = 0) -> Node:
        """The tree with what ``change`` gives in place of nodes."""
        if depth > _MAX_DEPTH:
            raise self.fail(f"at most {_MAX_DEPTH} levels of nesting")
        new = change(node)
        if new is not None:
            return new
        parts = {
            f.name: self._replaced_in(getattr(node, f.name), change, depth + 1)
            for f in fields(node)
        }
        return replace(node, **parts) if parts else node

    def _replaced_in(self, value: Any, change: Callable[[Node], Node | None], depth: int) -> Any:
        if isinstance(value, tuple):
            return tuple(self._replaced_in(one, change, depth) for one in value)
        return self._replaced(value, change, depth) if isinstance(value, Node) else value
