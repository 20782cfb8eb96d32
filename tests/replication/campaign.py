"""Many seeds: `python -m tests.replication.campaign FIRST COUNT [LENGTH_MS]`. Stops at the first that fails."""

import sys

from tests.replication.chaos import play_chaos


def main(first: int, count: int, length_ms: int) -> None:
    for seed in range(first, first + count):
        try:
            world = play_chaos(seed, length_ms)
        except BaseException:
            print(f"seed {seed} fails: python -m tests.replication.campaign {seed} 1 {length_ms}")
            raise
        print(seed, world.loop.trace_hash()[:12], dict(sorted(world.network.injected.items())), flush=True)


if __name__ == "__main__":
    arguments = [int(argument) for argument in sys.argv[1:]]
    main(arguments[0], arguments[1], arguments[2] if len(arguments) > 2 else 15_000)
