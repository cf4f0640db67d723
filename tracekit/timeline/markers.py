"""Clock samples from texts that were written into a trace between two readings of the TSC.

``clocks.json`` has ``markers``: ``{"text", "tsc_before", "tsc_after"}``. The ``ftrace:print`` event
of that text was stamped between the two readings, which makes it a sample of the trace clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from tracekit.clocks.model import UNITS, UNKNOWN
from tracekit.ftrace.columns import Payloads, typed_column
from tracekit.timeline.boot import Boot, Buffer
from tracekit.timeline.rows import EventKind, Rows, different

__all__ = ["marker_samples", "printed_texts"]


def printed_texts(
    boot: Boot,
    rows: Rows,
    kinds: Sequence[EventKind],
    buffers: Sequence[Buffer],
    newest: int | None = None,
) -> list[tuple[int, str]]:
    """(row, text without its line end) of everything written to a boot's ``trace_marker``.

    With ``newest`` of the last so many rows.
    """
    printed = []
    for code, kind in enumerate(kinds):
        if kind.boot != boot.index or kind.name != "ftrace:print":
            continue
        fmt = boot.format(kind.id)
        field = fmt.field("buf") if fmt else None
        of_kind = rows.of_kinds(boot.index, (code,))[-newest if newest else None :]
        for number in different(rows.buffer[of_kind]) if field else ():
            indices = of_kind[rows.buffer[of_kind] == number]
            payloads = Payloads(buffers[number].data, rows.offset[indices], rows.length[indices])
            assert field is not None
            texts = typed_column(payloads, field).to_pylist()
            printed += [
                (row, text.rstrip("\n"))
                for row, text in zip(indices.tolist(), texts, strict=True)
                if isinstance(text, str)
            ]
    return sorted(printed)


def marker_samples(
    boot: Boot,
    markers: object,
    rows: Rows,
    kinds: Sequence[EventKind],
    buffers: Sequence[Buffer],
) -> list[object]:
    """Samples (see :func:`~tracekit.clocks.fit.read_samples`) of the boot's trace clocks.

    ``markers`` are not trusted: a text that is listed or was written more than once gives no
    sample.
    """
    entries = [m for m in markers if isinstance(m, Mapping)] if isinstance(markers, list) else []
    if not entries:
        return []
    named = Counter(str(m.get("text")).rstrip("\n") for m in entries)
    printed = printed_texts(boot, rows, kinds, buffers)
    written = Counter(text for _, text in printed)
    row_of = {text: row for row, text in printed}
    samples: list[object] = []
    for marker in entries:
        text = str(marker.get("text")).rstrip("\n")
        if named[text] != 1 or written[text] != 1:
            continue
        row = row_of[text]
        clock = buffers[int(rows.buffer[row])].clock or UNKNOWN
        if UNITS.get(clock) == "ns":
            ends = {key: marker.get(key) for key in ("tsc_before", "tsc_after")}
            samples.append({"clock": clock, "ns": int(rows.ts_raw[row]), **ends})
    return samples
