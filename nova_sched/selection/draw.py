"""Chance as an input: draws that follow from the request alone, so that a replay draws the same."""

from hashlib import blake2b

_MASK = 2**64 - 1


def seed_of(request_id: str, instance_uuid: str) -> int:
    """The seed of one instance's decision, 52 bits."""
    return int.from_bytes(blake2b(f"{request_id}/{instance_uuid}".encode(), digest_size=8).digest(), "big") >> 12


def draw(seed: int, attempt: int, count: int) -> int:
    """A number from 0 to ``count`` - 1; another attempt draws another one (splitmix64)."""
    state = (seed + (attempt + 1) * 0x9E3779B97F4A7C15) & _MASK
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
    return (state ^ (state >> 31)) % count
