"""Finds and imports BCC's Python module, which is the system Python's and in no package index.

A virtual environment does not see it, so the directories of the system's packages are searched
too; it is plain Python around libbcc, and runs under any Python 3.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import ModuleSpec, PathFinder
from typing import Any

__all__ = ["find_bcc", "import_bcc"]

_VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
_SYSTEM = (
    "/usr/lib/python3/dist-packages",  # Debian, Ubuntu
    f"/usr/lib/{_VERSION}/site-packages",  # Fedora, Arch, SUSE
    f"/usr/lib64/{_VERSION}/site-packages",
)


def find_bcc() -> ModuleSpec | None:
    """Where the module is, None where there is none; nothing is imported."""
    return PathFinder.find_spec("bcc", [*sys.path, *_SYSTEM])


def import_bcc() -> Any:
    """The module. Raises ImportError where there is none, or it does not load."""
    if sys.modules.get("bcc") is not None:
        return sys.modules["bcc"]
    spec = find_bcc() if "bcc" not in sys.modules else None  # None there: not to be imported
    if spec is None or spec.loader is None:
        raise ImportError("no module bcc")
    module = importlib.util.module_from_spec(spec)
    sys.modules["bcc"] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules["bcc"]
        raise
    return module
