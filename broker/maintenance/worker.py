"""The maintenance process: carries out one job after the other, at the lowest priority.

    python -m broker.maintenance.worker

Jobs come on its standard input and answers go to its standard output (see `messages`); so does, at any time, how fast
it may work. When its input ends, because the node has stopped or was killed, it ends too, in the midst of whatever it
does: what it has written is worth nothing without a log that takes it over.
"""

import os
import queue
import sys
import threading
import traceback
from sys import float_info
from typing import BinaryIO, NoReturn

from broker.maintenance import messages
from broker.maintenance.carrying_out import carry_out, failure_of
from broker.maintenance.jobs import Job
from broker.maintenance.pace import Pace
from kraftpy.runtime.disk import LocalDisk

NICENESS = 19


def main() -> None:
    """Until the input ends."""
    os.nice(NICENESS)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else is printed is no answer
    jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
    pace = Pace(float_info.max)
    threading.Thread(target=_listen, args=(sys.stdin.buffer, jobs, pace), daemon=True).start()
    disk = LocalDisk(threads=1)
    try:
        while True:
            answer = _answer(disk, jobs.get(), pace)
            try:
                answers.write(answer)
                answers.flush()
            except BrokenPipeError:  # the node is gone, and this thread is the first to notice
                _end(0)
    except Exception:  # a bug: the node starts another process
        traceback.print_exc()
        _end(1)


def _listen(stream: BinaryIO, jobs: "queue.SimpleQueue[Job]", pace: Pace) -> None:
    """On a thread of its own, so that news and the end of the input are noticed in the midst of a job."""
    try:
        while len(length := stream.read(messages.LENGTH.size)) == messages.LENGTH.size:
            told = messages.decode_request(stream.read(messages.body_bytes(length)))
            if not isinstance(told, float):
                jobs.put(told)
            else:
                pace.limit(told)
    except Exception:  # a message that is none: nothing more can be understood
        traceback.print_exc()
        _end(1)
    _end(0)


def _end(code: int) -> NoReturn:
    """At once, whatever the other thread does: Python's own way out aborts where that one is reading."""
    os._exit(code)


def _answer(disk: LocalDisk, job: Job, pace: Pace) -> bytes:
    try:
        return messages.encode_outcome(carry_out(disk, job, pace.spend))
    except Exception as error:
        failure = failure_of(error)
        if failure is None:
            raise
        return messages.encode_failure(failure)


if __name__ == "__main__":
    main()
