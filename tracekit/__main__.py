"""``python -m tracekit``."""

import os
import sys

from tracekit.interpreter import leave_working_directory

leave_working_directory(os.path.dirname(__file__))  # noqa: PTH120 - before more is imported

from tracekit.cli import main  # noqa: E402

sys.exit(main())
