"""KHO on a machine and in a session: what it costs, carries and hands over."""
