"""What a session holds of a running boot, and the saving of it."""
