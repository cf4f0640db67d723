"""The kernel's printf: its conversions, ``%p`` extensions and ctype."""
