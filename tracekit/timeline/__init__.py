"""One clock, one order: the timeline of a session and what can be asked of it."""
