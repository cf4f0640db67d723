"""The decoders that print formats of USB drivers call: what they print, kernel by kernel."""
