"""Settings of a process of tracekit; how another Python is started: with this one's modules.

``python -m`` and ``python -c`` look for modules in the working directory first, which may be a
session from elsewhere, with a ``numpy.py`` in it.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

__all__ = ["leave_working_directory", "python_command", "settle"]

#: Made between two searches for circles: formats and columns make many objects, and few circles.
_OBJECTS = 500_000
#: Bytes of a piece of memory that is used again, not given back and taken, page by page, anew.
_REUSED = 32 << 20
_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD, _M_ARENA_MAX = -3, -1, -8  # malloc.h

# -I: no working directory, no PYTHON* variables. What those said is in this process's sys.path.
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1));"
    "from {module} import main; sys.exit(main())"
)


def settle() -> None:
    """Settings for a process that decodes: before numpy is imported."""
    gc.set_threshold(_OBJECTS)
    atexit.register(gc.freeze)  # memory is given back as a whole, not searched for circles first
    with suppress(AttributeError, OSError):  # another C library than glibc
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, _REUSED)
        library.mallopt(_M_TRIM_THRESHOLD, 2 * _REUSED)
        library.mallopt(_M_ARENA_MAX, 1)  # what one thread has freed is another's to use
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # its own keeps what was freed
    # numpy's library of linear algebra starts threads that wait for work, which never comes
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def python_command(module: str, arguments: Sequence[str]) -> list[str]:
    """The command that calls ``main()`` of ``module`` in a new process, with these arguments.

    It finds modules where this process does, less what depends on the working directory.
    """
    import json

    path = json.dumps([entry for entry in sys.path if entry.startswith("/")])
    return [sys.executable, "-I", "-c", _START.format(module=module), path, *arguments]


def leave_working_directory(package: str) -> None:
    """Take away what ``python -m`` put in front of ``sys.path``, unless ``package`` is there.

    ``package`` is the directory of the package that runs.
    """
    if not sys.flags.safe_path and sys.path[0] != os.path.dirname(package):  # noqa: PTH120
        del sys.path[0]
