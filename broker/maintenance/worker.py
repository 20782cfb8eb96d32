"""The maintenance process: carries out one job after the other, at the lowest priority.

    python -m broker.maintenance.worker

Jobs come on its standard input and answers go to its standard output (see `messages`). When its input ends, because the
node has stopped or was killed, it ends too, in the midst of whatever it does: what it has written is worth nothing
without a log that takes it over.
"""

import os
import queue
import sys
import threading
from typing import BinaryIO

from broker.maintenance import messages
from broker.maintenance.failure import failure_of
from kraftpy.runtime.disk import LocalDisk
from log_store.compaction.cleaner import clean

NICENESS = 19


def main() -> None:
    """Until the input ends."""
    os.nice(NICENESS)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else is printed is no answer
    jobs: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read_jobs, args=(sys.stdin.buffer, jobs), daemon=True).start()
    disk = LocalDisk(threads=1)
    while True:
        answers.write(_answer(disk, jobs.get()))
        answers.flush()


def _read_jobs(stream: BinaryIO, jobs: "queue.SimpleQueue[bytes]") -> None:
    """On a thread of its own, so that the end of the input is noticed in the midst of a job."""
    while len(length := stream.read(messages.LENGTH.size)) == messages.LENGTH.size:
        jobs.put(stream.read(messages.body_bytes(length)))
    os._exit(0)


def _answer(disk: LocalDisk, body: bytes) -> bytes:
    try:
        return messages.encode_cleaned(clean(disk, messages.decode_job(body)))
    except Exception as error:
        failure = failure_of(error)
        if failure is None:
            raise  # a bug: the process ends with a traceback, and the node starts another one
        return messages.encode_failure(failure)


if __name__ == "__main__":
    main()
