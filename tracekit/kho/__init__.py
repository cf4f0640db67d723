"""Kexec HandOver data, as pure functions over bytes."""
