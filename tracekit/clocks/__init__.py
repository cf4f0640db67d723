"""Converts stamps to nanoseconds with an error bound, within a boot and across boots."""
