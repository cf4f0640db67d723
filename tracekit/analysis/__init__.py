"""What is derived from events: spans, states, wakeups, call trees, statistics."""
