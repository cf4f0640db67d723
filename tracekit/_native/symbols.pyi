"""The text of ``/proc/kallsyms``. All arrays travel as ``bytes`` in native byte order."""

from typing import Any, TypeAlias

import numpy as np
from typing_extensions import Buffer

_Buffer: TypeAlias = Buffer | np.ndarray[Any, Any]

def symbols(text: _Buffer, /) -> tuple[bytes, bytes, bytes]:
    """The kernel's own symbols in ``/proc/kallsyms``, in the order of the text.

    Addresses u64, and offsets and lengths u32 of the names in ``text``.
    """
