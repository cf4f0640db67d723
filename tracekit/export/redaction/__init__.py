"""Exports to share: names, paths and addresses of a recording replaced."""
