"""Another kernel's record that is still in the buffer: not wiped unless it has been fetched."""

from __future__ import annotations

import contextlib
from pathlib import Path

from tracekit.capture.cmdline.session_param import SESSIONS
from tracekit.capture.record.instance import Instance
from tracekit.capture.recover.regions import recovered_in
from tracekit.carriers.ring_header import header_address
from tracekit.errors import SourceError
from tracekit.session import SessionWriter
from tracekit.sysroot import Sysroot

__all__ = ["refuse_to_wipe"]

_NEWEST = 20  # sessions that are looked into
_BOOT_ID = "proc/sys/kernel/random/boot_id"


def refuse_to_wipe(root: Sysroot, instance: Instance, writer: SessionWriter) -> None:
    """Raise SourceError where the instance holds a record of another boot that nobody fetched."""
    address = instance.earlier_boot()
    boot_id = root.text(_BOOT_ID).strip()
    if address is not None:
        fetched = _has_record(writer, int(address, 16))
    else:
        fetched = not instance.moved() or recovered_in(writer.path, boot_id)
    if fetched or any(recovered_in(path, boot_id) for path in _others(writer.path)):
        return
    where = f" (_text at {address})" if address else ""
    raise SourceError(
        f"the buffer of {instance.name} still holds another kernel's record{where}, and "
        f"neither {writer.path} nor a session beside it has a copy: run 'tracekit recover "
        f"{writer.path}' first, or record with --discard"
    )


def _others(session: Path) -> list[Path]:
    """The newest sessions that a record may have been fetched into: beside this one, or below
    ``/var/lib/tracekit``.
    """
    found: dict[Path, float] = {}
    for directory in (session.absolute().parent, SESSIONS):
        with contextlib.suppress(OSError):
            for path in directory.iterdir():
                manifest = path / "manifest.json"
                if path != session.absolute() and manifest.is_file():
                    found[path] = manifest.stat().st_mtime
    return sorted(found, key=found.__getitem__, reverse=True)[:_NEWEST]


def _has_record(writer: SessionWriter, text_address: int) -> bool:
    """Whether the session holds a region that the kernel with this ``_text`` wrote."""
    for rel in writer.names("boots/"):
        if "/regions/" in rel and rel.endswith(".raw"):
            written = header_address(writer.head(rel)[:64])
            if written is not None and written[1] == text_address:
                return True
    return False
