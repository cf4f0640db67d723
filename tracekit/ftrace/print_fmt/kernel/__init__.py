"""Functions of the kernel that print formats call: what they print."""
