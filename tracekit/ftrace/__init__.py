"""What the kernel wrote into its ring buffer, as pure functions over bytes."""
