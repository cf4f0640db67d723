"""The handover lab: real kernels in QEMU that record, kexec and recover with this very code."""
