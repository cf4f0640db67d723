"""Recording under the old kernel, up to the jump."""
