"""What a dead kernel's memory holds: its trace buffers, and all that is needed to read them."""
