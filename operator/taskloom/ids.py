"""Ids that sort by the time they were made (UUID version 7, RFC 9562 section 5.7)."""

import functools
import os
import threading
import time
import uuid

_NAMESPACE = uuid.UUID("6f1d5a0e-2f60-5c9b-9a51-7461736b6c6d")


class _Clock:
    """Counts the ids of a millisecond, so that those of one process sort in the order made."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def tick(self) -> int:
        """Give 48 bits of milliseconds and 12 of a counter, each time more than before."""
        with self._lock:
            now = (time.time_ns() // 1_000_000 & 0xFFFF_FFFF_FFFF) << 12
            self._last = max(now, self._last + 1)
            return self._last


_clock = _Clock()


def new_id() -> uuid.UUID:
    """Make a UUIDv7: 48 bits of milliseconds, a counter of 12 bits, then random bits.

    Those of one process sort in the order in which they were made (RFC 9562 section 6.2, method 1).
    """
    milliseconds, counter = divmod(_clock.tick(), 0x1000)
    value = milliseconds << 80
    value |= 0x7 << 76
    value |= counter << 64
    value |= 0b10 << 62
    value |= int.from_bytes(os.urandom(8), "big") & 0x3FFF_FFFF_FFFF_FFFF
    return uuid.UUID(int=value)


def derived_id(*parts: object) -> uuid.UUID:
    """Make the one id that these parts always have, so that work done twice makes one row."""
    return _derived("\x1f".join(str(part) for part in parts))


@functools.lru_cache(maxsize=32_768)  # those of declared objects are asked for again and again
def _derived(text: str) -> uuid.UUID:
    return uuid.uuid5(_NAMESPACE, text)
