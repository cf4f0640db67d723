"""The view of every event, and of one with its bytes."""
