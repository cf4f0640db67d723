"""Tokens of a ``print fmt`` line, read one after the other."""

from __future__ import annotations

from tracekit.errors import FormatError
from tracekit.ftrace.print_fmt.tokens import tokenize, unescape

__all__ = ["TokenReader"]


class TokenReader:
    """What a parser asks of its tokens; ``depth`` counts its nesting."""

    def __init__(self, text: str, source: str) -> None:
        self.source = source
        self.tokens = tokenize(text, source)
        self.pos = 0
        self.depth = 0

    def fail(self, expected: str) -> FormatError:
        """The error for what is here instead of what was expected."""
        token = self.tokens[self.pos]
        actual = repr(token.text[:40]) if token.kind != "end" else "the end"
        return FormatError(
            f"{self.source}: print fmt, character {token.at}: expected {expected}, found {actual}"
        )

    def peek(self, text: str, ahead: int = 0) -> bool:
        """Whether an operator or a name is here, or so many tokens ahead."""
        position = min(self.pos + ahead, len(self.tokens) - 1)
        token = self.tokens[position]
        return token.text == text and token.kind in ("op", "id")

    def accept(self, text: str) -> bool:
        """Read an operator or a name, if it is here."""
        if self.peek(text):
            self.pos += 1
            return True
        return False

    def expect(self, *texts: str) -> None:
        """Read operators or names, one after the other."""
        for text in texts:
            if not self.accept(text):
                raise self.fail(repr(text))

    def ident(self) -> str:
        """Read any name."""
        token = self.tokens[self.pos]
        if token.kind != "id":
            raise self.fail("a name")
        self.pos += 1
        return token.text

    def string(self) -> str:
        """Read string literals, joined and unescaped."""
        parts: list[str] = []
        while self.tokens[self.pos].kind == "str":
            parts.append(unescape(self.tokens[self.pos].text[1:-1]))
            self.pos += 1
        if not parts:
            raise self.fail("a string literal")
        return "".join(parts)

    def at_end(self) -> bool:
        """Whether all tokens are read."""
        return self.tokens[self.pos].kind == "end"
