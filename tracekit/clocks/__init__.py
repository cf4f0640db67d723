"""Stamps to nanoseconds, with their error: pure functions, of one boot and across boots."""
