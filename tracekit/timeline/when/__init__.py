"""When it was: the time of day of events, and instants as people name them."""
