"""Kernel command lines: read, composed for the next kernel, installed."""
