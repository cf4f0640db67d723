"""BCC probes on the kexec path: what they record, and the loader that attaches them."""
