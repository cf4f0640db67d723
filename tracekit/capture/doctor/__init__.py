"""Whether this machine can record its way through a kexec, check by check."""
