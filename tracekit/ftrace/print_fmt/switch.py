"""Parser of the ``switch`` in a statement expression: what it sets a variable to, as an expression.

``({ char *s; switch (a) { case 1: s = "x"; break; default: s = "y"; } s; })`` is what ``a == 1 ?
"x" : "y"`` is. The kernel's own have one variable, which each case sets before it ends.
"""

from __future__ import annotations

from tracekit.ftrace.print_fmt.nodes import Binary, Cond, Ident, Let, Node
from tracekit.ftrace.print_fmt.reader import TokenReader

__all__ = ["MAX_DEPTH", "SwitchReader"]

#: Deepest nesting accepted; the deepest in the kernels of the lab is 18.
MAX_DEPTH = 80


class SwitchReader(TokenReader):
    """Reads ``switch (…) { … }``; its expressions are the parser's."""

    def expression(self) -> Node:
        """Any expression."""
        raise NotImplementedError

    def switch(self) -> tuple[str, Node]:
        """Read a ``switch``: the variable that it sets, and its value then."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.fail(f"at most {MAX_DEPTH} levels of nesting")
        selector = Ident(f"switch {self.pos}")
        self.expect("switch", "(")
        value = self.expression()
        self.expect(")", "{")
        cases: list[tuple[Node, Node]] = []
        name, otherwise = "", None
        while not self.accept("}"):
            test, is_default = self._labels(selector)
            variable, result = self._assignment()
            if name not in ("", variable):
                raise self.fail(f"{name!r} to be set")
            name = variable
            if is_default:
                otherwise = result
            elif test is not None:
                cases.append((test, result))
        if not name:
            raise self.fail("a case")
        chosen = otherwise or Ident(name)  # not set: nothing is known by that name
        for test, result in reversed(cases):
            chosen = Cond(test, result, chosen)
        self.depth -= 1
        return name, Let(((selector.name, None, value),), chosen)

    def _labels(self, selector: Ident) -> tuple[Node | None, bool]:
        """Read ``case 1: case 2: default:``: a test for the cases, and whether it is the default.

        What is both needs no test: the other cases are of other values.
        """
        test: Node | None = None
        is_default = False
        start = self.pos
        while self.peek("case") or self.peek("default"):
            if self.accept("case"):
                one = Binary("==", selector, self.expression())
                test = one if test is None else Binary("||", test, one)
            else:
                is_default = self.accept("default")
            self.expect(":")
        if self.pos == start:
            raise self.fail("'case'")
        return test, is_default

    def _assignment(self) -> tuple[str, Node]:
        """Read what a case does, to its ``break`` or the end: it sets a variable, or asks on."""
        if self.peek("switch"):
            name, value = self.switch()
        else:
            name = self.ident()
            self.expect("=")
            value = self.expression()
            self.expect(";")
        if self.accept("break"):
            self.expect(";")
        elif not self.peek("}"):
            raise self.fail("'break'")
        return name, value
