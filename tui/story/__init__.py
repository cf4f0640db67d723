"""The first view: where the time went."""
