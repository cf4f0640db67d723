"""tracekit: a flight recorder for kexec."""
