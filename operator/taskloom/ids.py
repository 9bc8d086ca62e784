"""Ids that sort by the time they were made (UUID version 7, RFC 9562 section 5.7)."""

import functools
import os
import time
import uuid

_NAMESPACE = uuid.UUID("6f1d5a0e-2f60-5c9b-9a51-7461736b6c6d")


def new_id() -> uuid.UUID:
    """Make a UUIDv7: 48 bits of milliseconds, then random bits; rows made together lie together."""
    milliseconds = time.time_ns() // 1_000_000
    random_bits = int.from_bytes(os.urandom(10), "big")
    value = (milliseconds & 0xFFFF_FFFF_FFFF) << 80
    value |= 0x7 << 76
    value |= ((random_bits >> 62) & 0xFFF) << 64
    value |= 0b10 << 62
    value |= random_bits & 0x3FFF_FFFF_FFFF_FFFF
    return uuid.UUID(int=value)


def derived_id(*parts: object) -> uuid.UUID:
    """Make the one id that these parts always have, so that work done twice makes one row."""
    return _derived("\x1f".join(str(part) for part in parts))


@functools.lru_cache(maxsize=32_768)  # those of declared objects are asked for again and again
def _derived(text: str) -> uuid.UUID:
    return uuid.uuid5(_NAMESPACE, text)
