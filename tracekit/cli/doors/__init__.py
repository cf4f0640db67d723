"""Commands that bring other tools' recordings in."""
