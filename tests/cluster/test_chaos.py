"""kill -9 and SIGSTOP of a random node under load: nothing acknowledged is lost or doubled, no key is reordered.

Many more rounds: `python -m tests.cluster.campaign --rounds 50`.
"""

from tests.cluster.chaos import Fault, play_all, rounds

SEED = 2  # five rounds that hold both faults, at two nodes, with every kind of return


def test_random_faults_under_load_lose_repeat_and_reorder_nothing() -> None:
    steps = list(rounds(SEED, 5))
    assert {step.fault for step in steps} == {Fault.KILL, Fault.PAUSE}
    play_all(SEED, steps)
