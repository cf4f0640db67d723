"""The text of ``/proc/kallsyms``. All arrays travel as ``bytes`` in native byte order."""

from typing import Any, TypeAlias

import numpy as np
from typing_extensions import Buffer

_Buffer: TypeAlias = Buffer | np.ndarray[Any, Any]

def symbols(text: _Buffer, own: bool, /) -> tuple[bytes, ...]:
    """The symbols in ``/proc/kallsyms`` by address, those of one in the order of the text.

    Those of the kernel itself: addresses u64, and offsets and lengths u32 of the names in ``text``.
    Where ``own``, those of modules and of what else is named so, in the kernel's half of the
    addresses and without mapping symbols; two columns more are offsets and lengths of the modules.
    """
