"""Parser of a block that prints into the line itself: ``({ … trace_seq_printf(p, "…", …); … })``.

``arch/x86/kvm/mmu/mmutrace.h`` has one: it takes a word apart by a union of bit-fields, and names
one of them by an array of strings. It stands for ``%s``; what it prints becomes part of the line.
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
_ROLES: Mapping[int, Mapping[str, tuple[int, int]]] = {
    8: {
        "level": (0, 4), "has_4_byte_gpte": (4, 1), "quadrant": (5, 2), "direct": (7, 1),
        "access": (8, 3), "invalid": (11, 1), "efer_nx": (12, 1), "ad_disabled": (16, 1),
    },
    16: {
        "level": (0, 4), "has_4_byte_gpte": (4, 1), "quadrant": (5, 2), "direct": (7, 1),
        "access": (8, 4), "invalid": (12, 1), "efer_nx": (13, 1), "ad_disabled": (16, 1),
    },
}  # fmt: skip
_UNION = "kvm_mmu_page_role"
_WORD = TypeName(("u32",), 0)


class PrintedReader(SwitchReader):
    """Reads such a block; its expressions and lists are the parser's."""

    def items(self, closer: str) -> tuple[Node, ...]:
        """Expressions up to ``closer``."""
        raise NotImplementedError

    def printed(self) -> Node | None:
        """Read the block behind ``({``, if it begins as one."""
        begins = ("const", "char", "*", None, "=", "trace_seq_buffer_ptr")
        if not all(word is None or self.peek(word, n) for n, word in enumerate(begins)):
            return None
        saved = self.tokens[self.pos + 3].text
        self.pos += len(begins)
        for word in ("(", "p", ")", ";"):
            self.expect(word)
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
                for word in ("(", "p", ","):
                    self.expect(word)
                template += self.string()
                args += self.items(")") if self.accept(",") else self._none()
            else:
                words.update([self._word()])
            self.expect(";")
        for word in (";", "}", ")"):
            self.expect(word)
        if template.endswith("%c") and args[-1:] == (Num(0, INT),):  # the text's end
            template, args = template[:-2], args[:-1]
        return Printed(template, tuple(_replaced(a, _local(strings, unions, words)) for a in args))

    def _none(self) -> tuple[Node, ...]:
        self.expect(")")
        return ()

    def _strings(self) -> tuple[str, Braces]:
        """Read ``const char *NAME[] = { "…", … }``."""
        for word in ("const", "char", "*"):
            self.expect(word)
        name = self.ident()
        for word in ("[", "]", "=", "{"):
            self.expect(word)
        return name, Braces(self.items("}"))

    def _word(self) -> tuple[str, Node]:
        """Read ``NAME.word = …``."""
        name = self.ident()
        for word in (".", "word", "="):
            self.expect(word)
        return name, self.expression()


def _local(
    strings: Mapping[str, Braces], unions: Mapping[str, str], words: Mapping[str, Node]
) -> Callable[[Node], Node | None]:
    """What stands for a name that is declared in the block, or for a bit-field of one."""
    sizes = {len(values.items) for values in strings.values()}
    layout = _ROLES.get(sizes.pop(), {}) if len(sizes) == 1 else {}

    def changed(node: Node) -> Node | None:
        if isinstance(node, Ident):
            return strings.get(node.name)
        if not isinstance(node, Member) or not isinstance(node.base, Ident):
            return None
        word = words.get(node.base.name)
        if word is None or unions.get(node.base.name) != _UNION or node.name not in layout:
            return None
        first, bits = layout[node.name]
        moved = Binary(">>", Cast(_WORD, word), Num(first, INT))
        return Binary("&", moved, Num((1 << bits) - 1, INT))

    return changed


def _replaced(node: Node, change: Callable[[Node], Node | None]) -> Node:
    """The tree with what ``change`` gives in place of nodes."""
    new = change(node)
    if new is not None:
        return new
    parts: dict[str, Any] = {}
    for f in fields(node):
        value = getattr(node, f.name)
        if isinstance(value, tuple):
            parts[f.name] = tuple(_replaced(v, change) if _is_node(v) else v for v in value)
        elif _is_node(value):
            parts[f.name] = _replaced(value, change)
    return replace(node, **parts) if parts else node


def _is_node(value: object) -> bool:
    return isinstance(value, Node)
