"""The ``print fmt`` of an event's format: parsed, and compiled into a printer."""
