"""Typeahead: passes keys on one by one, each after the one before has taken effect."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from textual.app import App
from textual.events import Key
from textual.widgets import Input

__all__ = ["Typeahead"]

_LONGEST = 1.0  # seconds that a key waits for the one before it
_ROUNDS = 2  # a key may make a widget send a message, and that one moves the focus


class Typeahead:
    """On a slow connection several keys arrive at once: ``/`` and the search text, say.

    Textual sends every key to the widget that has the focus when it arrives, so the text would go
    to the view that the search was opened from. Repeated keys, and text that is typed into a line,
    do not wait.
    """

    def __init__(self, app: App[Any], give: Callable[[Key], Awaitable[None]]) -> None:
        self._app, self._give = app, give
        self._under_way: list[Key] = []
        self._waiting: deque[Key] = deque()
        self._since = 0.0  # when the last one was handed on

    async def take(self, key: Key) -> None:
        """A key arrived."""
        if self._waiting or not self._goes_with(key):
            self._waiting.append(key)
            self._app.set_timer(_LONGEST, self._give_up)
        else:
            await self._hand_on(key)

    def _goes_with(self, key: Key) -> bool:
        """Whether it goes to the same widget as the keys under way, whatever their effect."""
        typing = isinstance(self._app.focused, Input) and key.is_printable
        return all(k.key == key.key or (typing and k.is_printable) for k in self._under_way)

    async def _hand_on(self, key: Key) -> None:
        self._under_way.append(key)
        self._since = time.monotonic()
        screen = self._app.screen
        path = [*(self._app.focused or screen).ancestors_with_self] * _ROUNDS
        await self._give(key)

        def follow() -> None:
            """Follow the key through the message queues of all widgets that may handle it."""
            while path:
                if path.pop(0).call_later(follow):
                    return
            if self._app.screen is screen:
                self._app.call_later(self._done, key)
            else:  # a dialog opened or closed: the focus is settled after a refresh
                self._app.call_after_refresh(self._done, key)

        follow()

    async def _done(self, key: Key) -> None:
        if key in self._under_way:
            self._under_way.remove(key)
        while self._waiting and self._goes_with(self._waiting[0]):
            await self._hand_on(self._waiting.popleft())

    async def _give_up(self) -> None:
        """Stop waiting for a key that was lost with the widget that it closed."""
        left = self._since + _LONGEST - time.monotonic()
        if self._waiting and left > 0:
            self._app.set_timer(left, self._give_up)
        elif self._waiting:
            self._under_way.clear()
            await self._hand_on(self._waiting.popleft())
