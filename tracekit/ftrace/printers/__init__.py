"""Prints events as the kernel does, with its ``print fmt`` or its special printers."""
