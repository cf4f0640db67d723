"""The line at the bottom: filter, search, saved filters, toggles."""
