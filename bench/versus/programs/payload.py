"""Values of records: random letters, as Kafka's ProducerPerformance sends them, so that compression finds as much."""

import random

LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"
VALUES = 500
"""So many different ones: a batch does not consist of one that is repeated."""

POOL_BYTES_MAX = 32_000_000


def values(record_bytes: int, seed: int = 0) -> list[bytes]:
    """Different values of that size, always the same ones."""
    chance = random.Random(seed)
    count = max(2, min(VALUES, POOL_BYTES_MAX // record_bytes))
    table = bytes(LETTERS[number % len(LETTERS)] for number in range(256))
    return [chance.randbytes(record_bytes).translate(table) for _ in range(count)]
