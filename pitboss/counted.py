"""Randomness that is counted, not drawn: a function of a seed and a name, whatever the order."""

import hashlib


def noise_words(seed: int, name: str) -> tuple[int, int]:
    """Two 32-bit words that identify the noise of this name in a study with this seed."""
    digest = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest[:4], "big"), int.from_bytes(digest[4:], "big")
