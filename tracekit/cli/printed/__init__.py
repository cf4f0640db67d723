"""Sections of the report as people read them."""
