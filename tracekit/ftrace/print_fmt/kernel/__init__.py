"""Functions, arrays and structures of the kernel that print formats name, beside their fields."""
