"""Compiles the BPF programs of ``bpf/`` with BCC, on the spot and for the running kernel."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tracekit.errors import TracekitError
from tracekit.probes.control import control_macros
from tracekit.probes.headers import Headers
from tracekit.probes.kernel import ProbedKernel, page_shift
from tracekit.probes.records import KINDS

__all__ = ["Compiled", "ProbesUnavailable", "captured", "compile_programs", "unavailable"]

_SOURCES = Path(__file__).parent / "bpf"
_RING_PAGES = 1024  # of the BPF ring buffer: some 27,000 records
# 7.x headers have anonymous members of a named struct type, as the kernel's own Makefile allows
_CFLAGS = ("-fms-extensions", "-Wno-microsoft-anon-tag", "-w")


class ProbesUnavailable(TracekitError):
    """No BPF probe can be loaded here; the message says why and what to do."""


def unavailable(problem: str, advice: str) -> ProbesUnavailable:
    """The error that says what stands against BPF probes, and what to do."""
    return ProbesUnavailable(f"BPF probes: {problem}: {advice}, or go without with --no-bpf")


class Compiled(NamedTuple):
    """A ``bcc.BPF`` whose programs are not loaded yet, and the headers it was compiled with."""

    bpf: Any
    headers: Headers


@contextlib.contextmanager
def captured() -> Iterator[list[str]]:
    """Captures what C++ code writes to descriptor 2 in the list that is yielded."""
    lines: list[str] = []
    saved, sink = os.dup(2), os.memfd_create("bcc", os.MFD_CLOEXEC)
    os.dup2(sink, 2)
    try:
        yield lines
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        lines += os.pread(sink, 1 << 16, 0).decode("utf-8", "backslashreplace").splitlines()
        os.close(sink)


def _source_text(subjects: Sequence[str]) -> str:
    names = ("records.h", "common.h", *(f"{subject}.c" for subject in subjects))
    try:
        return "\n".join((_SOURCES / name).read_text("utf-8") for name in names)
    except OSError as error:
        raise unavailable(
            f"{error.filename}: {error.strerror}", "the installation lacks bpf/; install again"
        ) from error


def _cflags(kernel: ProbedKernel) -> list[str]:
    macros = {f"TK_KIND_{k.event.replace(':', '_').upper()}": k.id for k in KINDS.values()}
    macros |= {"TK_RING_PAGES": _RING_PAGES, "TK_PAGE_SHIFT": page_shift()}
    macros["TK_RECORDER"] = os.getpid()
    macros |= kernel.device_macros() | control_macros(kernel)
    if kernel.choose(("kho_radix_add_key",)):
        macros["TK_KHO_KEY"] = 1
    return [*_CFLAGS, *(f"-D{name}={value}" for name, value in macros.items())]


def _attempt(bcc: Any, text: bytes, cflags: list[str], headers: Headers) -> Any | str:
    """The ``bcc.BPF``, or what the compiler said."""
    with captured() as output, headers.chosen():
        try:
            return bcc.BPF(text=text, cflags=cflags)
        except Exception as error:  # BCC raises nothing more special
            problem = str(error)
    errors = [line for line in output if "error:" in line] or output[-3:] or [problem]
    return "; ".join(errors[:3])


def compile_programs(
    bcc: Any, kernel: ProbedKernel, subjects: Sequence[str], choices: Sequence[Headers]
) -> Compiled:
    """Compile the programs of ``subjects`` with the first of the header trees that will do.

    Raises :class:`ProbesUnavailable` where none does.
    """
    text, cflags = _source_text(subjects).encode(), _cflags(kernel)
    said = []
    for headers in choices:
        result = _attempt(bcc, text, cflags, headers)
        if not isinstance(result, str):
            return Compiled(result, headers)
        said.append(f"with {headers.place}: {result}")
    raise unavailable(
        f"BCC {getattr(bcc, '__version__', '?')} cannot compile them: {'; '.join(said)}",
        "install a newer BCC",
    )
