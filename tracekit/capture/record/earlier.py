"""Another kernel's record that is still in the buffer: not wiped unless it has been fetched."""

from __future__ import annotations

from tracekit.capture.record.instance import Instance
from tracekit.capture.recover.regions import recovered_in
from tracekit.carriers.ring_header import header_address
from tracekit.errors import SourceError
from tracekit.session import SessionWriter
from tracekit.sysroot import Sysroot

__all__ = ["refuse_to_wipe"]

_BOOT_ID = "proc/sys/kernel/random/boot_id"


def refuse_to_wipe(root: Sysroot, instance: Instance, writer: SessionWriter) -> None:
    """Raise SourceError where the instance holds a record of another boot that nobody fetched."""
    address = instance.earlier_boot()
    if address is not None:
        fetched = _has_record(writer, int(address, 16))
    else:
        fetched = not instance.moved() or recovered_in(writer.path, root.text(_BOOT_ID).strip())
    if fetched:
        return
    where = f" (_text at {address})" if address else ""
    raise SourceError(
        f"the buffer of {instance.name} still holds another kernel's record{where}, and "
        f"{writer.path} has no copy of it: run 'tracekit recover {writer.path}' first, or record "
        "with --discard"
    )


def _has_record(writer: SessionWriter, text_address: int) -> bool:
    """Whether the session holds a region that the kernel with this ``_text`` wrote."""
    for rel in writer.names("boots/"):
        if "/regions/" in rel and rel.endswith(".raw"):
            written = header_address(writer.head(rel)[:64])
            if written is not None and written[1] == text_address:
                return True
    return False
