"""The timeline of a session: the events of all its boots on one clock, in one order."""
