"""Decodes what the kernel wrote into its ring buffers, with pure functions over bytes."""
