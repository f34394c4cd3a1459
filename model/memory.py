"""Memory of a training on a CPU: what a step lets go is kept for the next one."""

from __future__ import annotations

import ctypes
import os

#: Options of glibc's ``mallopt``: what is free at the heap's end before it is given back, and the size from which
#: memory is asked of the system piece by piece. Source: malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
#: Bytes. From 32 MiB on pieces come from the system as before, for among so large ones much would lie idle.
_NEVER, _LARGE = 2**31 - 1, 2**25


def keep_pages() -> bool:
    """Keep freed memory in this process, where the C library is glibc; True where it is.

    Maps of a step are tens of MB each. By default they go back to the system when the step lets them go, and the next
    step has every page of them made and cleared anew: 30,000 to 65,000 pages a step of b2 at 256 px, up to a tenth of
    its time.
    """
    try:
        if not (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc"):
            return False
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, ValueError):
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _LARGE)) and bool(mallopt(_TRIM_THRESHOLD, _NEVER))
