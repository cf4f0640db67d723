"""Kprobe events that record when LUO's sessions are taken up, before there is BPF.

They are on the next kernel's command line: ``kprobe_event=`` (Documentation/admin-guide/
kernel-parameters.txt) enables what it defines, in the global trace buffer.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["luo_probes"]

# Event, function and arguments, with commas for spaces (setup_boot_kprobe_events()).
_PROBES = tuple(
    f"{kind}:luo_boot/{event}{'_return' * (kind == 'r')},{function},"
    f"{'ret=$retval:s32' if kind == 'r' else argument}".rstrip(",")
    for event, function, argument in (
        ("deserialize", "luo_session_deserialize", ""),
        ("retrieve_session", "luo_session_retrieve", "session=+0($arg1):string"),
        ("retrieve_file", "luo_retrieve_file", ""),
        ("finish_session", "luo_session_finish", ""),
    )
    for kind in "pr"
)


def luo_probes(names: Iterable[str], room: int) -> list[str]:
    """The parameter to add to a command line that has parameters of these ``names``.

    None where live update is not switched on, there are such probes already, or there is no
    ``room`` (bytes). A function that the next kernel lacks costs it a line in its log.
    """
    known = set(names)
    word = f"kprobe_event={';'.join(_PROBES)}"
    wanted = "liveupdate" in known and "kprobe_event" not in known
    return [word] if wanted and len(word) + 1 < room else []
