"""``python -m tracekit``, and the command ``tracekit``."""

from __future__ import annotations

import os
import sys
from typing import Any

from tracekit.interpreter import leave_working_directory

if __name__ == "__main__":
    leave_working_directory(os.path.dirname(__file__))  # noqa: PTH120 - before more is imported

from tracekit.errors import explained

__all__ = ["run"]


def run() -> Any:
    """Run the command line; returns the exit code."""
    try:
        from tracekit.cli import main
    except ImportError as error:  # click, without which there is no command line to say it
        print(f"tracekit: {explained(error)}", file=sys.stderr)
        return 1
    return main()


if __name__ == "__main__":
    sys.exit(run())
