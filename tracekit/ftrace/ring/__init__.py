"""The ring buffer's bytes: regions, sub-buffers, records."""
