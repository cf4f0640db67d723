"""What the interface asks of a session: opening it, lanes, bytes, what KHO handed over."""
