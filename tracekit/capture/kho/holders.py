"""Who holds LUO sessions open: their file descriptors are named ``[luo_session] NAME``."""

from __future__ import annotations

from tracekit.errors import SourceError
from tracekit.frozen import dataclass
from tracekit.sysroot import Sysroot

__all__ = ["Holder", "read_holders"]

_PREFIX = "anon_inode:[luo_session]"  # luo_session_getfile()
_DEVICE = "/dev/liveupdate"
_MOST = 1 << 14  # processes


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that has a session (``name``) or, with ``name`` '', the device itself open."""

    pid: int
    comm: str
    name: str


def read_holders(root: Sysroot) -> list[Holder]:
    """The holders, in order of their process numbers; those that only root may see are left out."""
    found: list[Holder] = []
    try:
        pids = sorted(int(name) for name in root.names("proc") if name.isdecimal())[:_MOST]
    except SourceError:
        return []
    for pid in pids:
        try:
            descriptors = root.names(f"proc/{pid}/fd")
        except (OSError, SourceError):
            continue
        for descriptor in descriptors:
            link = root.link(f"proc/{pid}/fd/{descriptor}")
            if link != _DEVICE and not link.startswith(_PREFIX):
                continue
            try:
                comm = (root.get(f"proc/{pid}/comm") or b"").decode("utf-8", "replace").strip()
            except SourceError:
                comm = ""
            found.append(
                Holder(pid, comm, link.removeprefix(_PREFIX).strip() if link != _DEVICE else "")
            )
    return found
