"""The timeline as files for other tools."""
