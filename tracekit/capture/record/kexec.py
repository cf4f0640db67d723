"""Loading a kernel and jumping to it: the file-based system call, the only one that carries KHO."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import subprocess
from pathlib import Path

from tracekit.errors import SourceError

__all__ = ["jump", "load"]

# include/uapi/asm-generic/unistd.h, arch/x86/entry/syscalls/syscall_64.tbl
_KEXEC_FILE_LOAD = {"x86_64": 320, "aarch64": 294}
_NO_INITRAMFS = 0x4  # KEXEC_FILE_NO_INITRAMFS, include/uapi/linux/kexec.h
_REBOOT = {"x86_64": 169, "aarch64": 142}
_MAGIC = (0xFEE1DEAD, 672274793)  # include/uapi/linux/reboot.h
_CMD_KEXEC = 0x45584543
_WHY = {
    errno.EPERM: "not permitted: be root; kernel lockdown and kexec_load_disabled forbid it too",
    errno.ENOSYS: "this kernel has no kexec_file_load (CONFIG_KEXEC_FILE); 'kexec -c' carries no "
    "KHO data, and has destroyed a carve-out near the end of the memory",
    errno.ENOEXEC: "not a kernel image this kernel can load",
    errno.EBADMSG: "its signature is not accepted",
    errno.ENOKEY: "it is signed with a key that is not trusted, and signatures are enforced",
    errno.EKEYREJECTED: "its signature is rejected, and signatures are enforced",
    errno.ENODATA: "it is not signed, and signatures are enforced",
    errno.EADDRNOTAVAIL: "no memory is free where it has to lie",
    errno.EBUSY: "another kexec is under way",
}


def _syscall(numbers: dict[str, int], *args: object) -> None:
    machine = platform.machine()
    if machine not in numbers:
        raise SourceError(f"kexec on {machine}: only {', '.join(numbers)} are known")
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    if libc.syscall(ctypes.c_long(numbers[machine]), *args) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _open(path: Path, what: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise SourceError(f"{path}: the {what} cannot be read: {error.strerror}") from error


def load(kernel: Path, initrd: Path | None, cmdline: str) -> None:
    """Load a kernel, with an initramfs and a command line, replacing one loaded before.

    Raises :class:`~tracekit.errors.SourceError` with the kernel's reason.
    """
    kernel_fd = _open(kernel, "kernel")
    initrd_fd = -1
    text = cmdline.encode() + b"\0"
    try:
        if initrd is not None:
            initrd_fd = _open(initrd, "initramfs")
        _syscall(
            _KEXEC_FILE_LOAD,
            ctypes.c_int(kernel_fd),
            ctypes.c_int(initrd_fd),
            ctypes.c_ulong(len(text)),
            ctypes.c_char_p(text),
            ctypes.c_ulong(0 if initrd is not None else _NO_INITRAMFS),
        )
    except OSError as error:
        why = _WHY.get(error.errno or 0, error.strerror)
        raise SourceError(
            f"{kernel}: the kernel did not load it: {why}; 'dmesg | tail' may say more"
        ) from error
    finally:
        os.close(kernel_fd)
        if initrd_fd >= 0:
            os.close(initrd_fd)


def jump(via: str) -> None:
    """Leave for the loaded kernel: ``kexec`` at once, ``systemctl`` after stopping user space.

    ``kexec`` does not return; ``systemctl`` returns when systemd has begun to stop. Raises
    :class:`~tracekit.errors.SourceError`.
    """
    if via == "systemctl":
        try:
            subprocess.run(["systemctl", "kexec"], check=True, stdin=subprocess.DEVNULL)
        except (OSError, subprocess.CalledProcessError) as error:
            raise SourceError(f"systemctl kexec: {error}: use --via kexec") from error
        return
    os.sync()
    magic = (ctypes.c_ulong(m) for m in _MAGIC)
    try:
        _syscall(_REBOOT, *magic, ctypes.c_ulong(_CMD_KEXEC), ctypes.c_void_p(None))
    except OSError as error:
        raise SourceError(f"the kernel did not jump: {error.strerror}: see dmesg") from error
