"""The formats that physical memory is dumped in."""
