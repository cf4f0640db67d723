"""The commands that answer questions about a selection of events."""
