"""The terminal interface of tracekit: a session as one story. See ``tui/app.py``."""
