"""Which kernel function a kprobe or fprobe event is on, by the saved lists of them."""

from __future__ import annotations

import re

from tracekit.timeline.boot import Boot

__all__ = ["kprobes"]

_PROBE = re.compile(r"^(?P<kind>[pfr])\d*(?::(?P<name>\S+))?\s+(?P<function>[^\s+%]+)(?P<rest>\S*)")


def kprobes(boot: Boot) -> list[tuple[str, str, bool]]:
    """(event, function, at its return) of every kprobe and fprobe event, also of removed ones."""
    probes = dict[tuple[str, str, bool], None]()
    for rel in ("kprobe_events", "dynamic_events"):  # the latter repeats the former's
        for line in "\n".join(boot.layers(f"tracefs/{rel}")).splitlines():
            m = _PROBE.match(line.strip())
            if m is None:
                continue
            group, _, event = (m["name"] or f"kprobes/{m['function']}").rpartition("/")
            returns = m["kind"] == "r" or "%return" in m["rest"]
            at_entry = m["rest"].removeprefix("%return") in ("", "+0", "+0x0")
            if returns or at_entry:
                name = f"{group or 'kprobes'}:{event}"
                probes[name, m["function"].rpartition(":")[2], returns] = None
    return list(probes)
