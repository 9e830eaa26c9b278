"""Counted noise: a request's randomness is a function of its name, the step and the token id.

Nothing is drawn from a generator, so a request samples the same tokens alone, in any batch, in any
slot, and after a restart. The mixer is the 32-bit integer hash with multipliers 0x21F0AAAD and
0x735A2D97 (Chris Wellons, "hash prospector"); both are below 2^31, so every product of a 32-bit
word with one of them fits a signed 64-bit integer exactly.
"""

import torch

_WORD = 0xFFFFFFFF


def _mix(x: torch.Tensor) -> torch.Tensor:
    x = ((x ^ (x >> 16)) * 0x21F0AAAD) & _WORD
    x = ((x ^ (x >> 15)) * 0x735A2D97) & _WORD
    return x ^ (x >> 15)


def uniform(words: torch.Tensor, step: torch.Tensor, token: torch.Tensor) -> torch.Tensor:
    """Uniform numbers in (0, 1).

    Args:
        words: int64 [rows, 2], each below 2^32.
        step: int64 [rows].
        token: int64 [rows, k], token ids.

    Returns:
        float64 [rows, k].
    """
    row = _mix(_mix(words[:, 0] ^ _mix(step + 1)) ^ words[:, 1])
    high = _mix(row[:, None] ^ _mix(token + 0x5BD1E995))
    low = _mix(high ^ words[:, 1:])
    # In float32, torch's default for an integer plus 0.5, one in 2^25 numbers would round to 1.
    return (((high << 20) + (low >> 12)).double() + 0.5) / 2.0**52


def gumbel(words: torch.Tensor, step: torch.Tensor, token: torch.Tensor) -> torch.Tensor:
    """Standard Gumbel numbers, float64 [rows, k]; the arguments are those of `uniform`."""
    return -torch.log(-torch.log(uniform(words, step, token)))
