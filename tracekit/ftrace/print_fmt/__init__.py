"""Parses an event's ``print fmt`` and compiles it into a printer."""
