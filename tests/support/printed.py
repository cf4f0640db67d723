"""Records as compiled programs print them, beside the evaluator."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tracekit.ftrace.columns import Payloads
from tracekit.ftrace.printers.render import Form, Renderer
from tracekit.ftrace.programs.run import TextColumn


def printed(renderer: Renderer, records: Sequence[bytes], form: Form = "args") -> int:
    """How many records a program prints, each as the evaluator does."""
    program = renderer.program(form)
    if program is None:
        return 0
    data = b"".join(records)
    lengths = np.array([len(r) for r in records], np.uint32)
    offsets = (np.cumsum(lengths, dtype=np.uint64) - lengths).astype(np.uint64)
    column = TextColumn(len(records))
    left = column.print(np.arange(len(records)), Payloads(data, offsets, lengths), program)
    texts = list(column.each())
    done = sorted(set(range(len(records))) - set(left.tolist()))
    for i in done:
        expected = renderer.formed(renderer.render(records[i]), form)
        assert texts[i] == expected.encode("utf-8", "backslashreplace"), records[i].hex()
    return len(done)
