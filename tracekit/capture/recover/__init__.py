"""Fetching what the old kernel left, under the new one."""
