"""One node with a real log directory, producers that retry, readers that follow, and a disk that cannot be trusted.

Everything of `log_store` is at work: group commit, small segments that roll often, recovery after kills and power
failures at any write. A send is acknowledged after the flush; whatever was acknowledged must be read at the end, once,
in its order (the log checker). Producers are idempotent and send again until they are answered.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from random import Random
from typing import Any
from uuid import UUID

from kraftpy.errors import KafkaStorageError, KraftpyError
from kraftpy.record import BatchBuilder, decode_batches
from kraftpy.runtime.ports import Address, Methods, Ports, TransportError
from log_store.config import LogConfig
from log_store.log import Log
from log_store.log_directory import LogDirectory
from simulation.checkers.history import End, Event, Outcome, Poll, Send
from simulation.checkers.log_checker import check_log
from simulation.disk import SimulatedDisk
from simulation.faults import FATAL, Fault, Plan, run_plan
from simulation.scenario import Refuted, Scenario
from simulation.world import World, WorldConfig

SERVER = "n1"
ADDRESS = Address(SERVER, 9093)
PARTITIONS = ("lines-0", "lines-1")
PRODUCERS = ("p1", "p2", "p3")
READERS = ("r1", "r2")
CALL_TIMEOUT_MS = 900
LENGTH_MS = 8_000
READ_BYTES_MAX = 700
TOPIC_ID = UUID(int=7)

# Small, so that a short run rolls many segments and fills their indexes.
LOG_CONFIG = LogConfig(segment_bytes=1_500, index_interval_bytes=200, segment_index_bytes=240, retention_ms=-1)

Acknowledge = Callable[[LogDirectory, Log], Awaitable[None]]


async def acknowledge_durable(directory: LogDirectory, log: Log) -> None:
    """An append counts once it is flushed."""
    await directory.flusher.flush(log)


def log_program(world: World, acknowledge: Acknowledge) -> Callable[[Ports], Coroutine[Any, Any, None]]:
    async def program(ports: Ports) -> None:
        failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def fenced(error: KraftpyError) -> None:
            if not failed.done():
                failed.set_result(None)

        try:
            directory = LogDirectory(ports.disk, "/data/logs", on_failed=fenced)
            await directory.open_logs(lambda name, topic_id: LOG_CONFIG, ports.clock.wall_ms())
        except (KafkaStorageError, OSError) as error:
            world.loop.trace("not-started", error)
            return
        if directory.failed_logs:  # where a read failed there is no replica to copy from: it is tried again
            if not all("cannot be read" in str(error) for error in directory.failed_logs.values()):
                raise Refuted(f"after a crash these logs could not be opened: {directory.failed_logs}")
            world.loop.trace("not-started", directory.failed_logs)
            return
        for name in PARTITIONS:
            directory.create_log(name, LOG_CONFIG, topic_id=TOPIC_ID, wall_ms=ports.clock.wall_ms())
        epoch = world.lives[SERVER].number

        async def append(request: bytes) -> bytes:
            log = directory.logs[PARTITIONS[request[0]]]
            try:
                appended = log.append(bytearray(request[1:]), epoch, ports.clock.wall_ms())
                await acknowledge(directory, log)
            except KraftpyError as error:
                world.loop.trace("refused", log.name, type(error).__name__)
                return b"!" + type(error).__name__.encode()
            return b"=%d" % appended.base_offset

        async def read(request: bytes) -> bytes:
            log = directory.logs[PARTITIONS[request[0]]]
            try:
                return b"=" + log.read_bytes(int(request[1:]), READ_BYTES_MAX, log.flushed_offset)
            except KraftpyError as error:
                return b"!" + type(error).__name__.encode()

        methods = Methods({"/log/Append": append, "/log/Read": read}, {})
        await ports.transport.serve(Address("0.0.0.0", ADDRESS.port), methods)
        await failed  # a fenced directory ends the program, as it does a broker's last one

    return program


async def ask(ports: Ports, method: str, request: bytes) -> bytes | None:
    """The answer's body; None where there was no answer or an error."""
    try:
        answer = await ports.transport.call(ADDRESS, method, request, CALL_TIMEOUT_MS)
    except TransportError:
        return None
    return answer[1:] if answer[:1] == b"=" else None


async def produce(world: World, ports: Ports, name: str, history: list[Event]) -> None:
    """Batches of unique values, one at a time a partition, each sent again until it is answered."""
    random = Random(f"{world.seed}/producer/{name}")
    value = 0
    sequences = dict.fromkeys(PARTITIONS, 0)
    while world.loop.now_us < LENGTH_MS * 1000:
        index = random.randrange(len(PARTITIONS))
        partition = PARTITIONS[index]
        builder = BatchBuilder()
        values = [f"{name}/{value + number}" for number in range(random.randint(1, 4))]
        for text in values:
            padding = b"." * random.choice([0, 0, 20, 300])
            builder.append(ports.clock.wall_ms(), None, f"{text} ".encode() + padding)
        value += len(values)
        batch = bytes(
            builder.build(producer_id=PRODUCERS.index(name), producer_epoch=0, base_sequence=sequences[partition])
        )
        sequences[partition] += len(values)
        invoked_us = world.loop.now_us
        answer = None
        while answer is None and not world.loop.now_us > (LENGTH_MS + 20_000) * 1000:
            answer = await ask(ports, "/log/Append", bytes([index]) + batch)
            if answer is None:
                await asyncio.sleep(random.random() * 0.1)
        history += _sends(name, partition, values, value, invoked_us, world.loop.now_us, answer)
        await asyncio.sleep(random.random() * 0.15)


def _sends(
    name: str, partition: str, values: list[str], after: int, invoked_us: int, now_us: int, answer: bytes | None
) -> list[Send]:
    outcome = Outcome.UNKNOWN if answer is None else Outcome.OK
    base = None if answer is None else int(answer)
    return [
        Send(
            name,
            partition,
            text,
            after - len(values) + index,
            invoked_us,
            None if base is None else now_us,
            outcome,
            None if base is None else base + index,
        )
        for index, text in enumerate(values)
    ]


async def follow(world: World, ports: Ports, name: str, history: list[Event], until_us: int) -> dict[str, int]:
    """Read both partitions from the start on; gives the positions reached."""
    positions = dict.fromkeys(PARTITIONS, 0)
    while world.loop.now_us < until_us:
        for index, partition in enumerate(PARTITIONS):
            await poll(world, ports, name, history, index, positions, partition)
        await asyncio.sleep(0.05)
    return positions


async def poll(
    world: World, ports: Ports, name: str, history: list[Event], index: int, positions: dict[str, int], partition: str
) -> bool | None:
    """One read. None: no answer; else whether anything came."""
    invoked_us = world.loop.now_us
    answer = await ask(ports, "/log/Read", bytes([index]) + b"%d" % positions[partition])
    if answer is None:
        return None
    records = [record for record in decode_batches(answer) if record.offset >= positions[partition]]
    if records:
        positions[partition] = records[-1].offset + 1
        seen = tuple((partition, record.offset, (record.value or b"").split()[0].decode()) for record in records)
        history.append(Poll(name, 1, invoked_us, world.loop.now_us, seen))
    return bool(records)


async def read_to_the_end(world: World, ports: Ports, history: list[Event]) -> None:
    """The last word on what the log holds."""
    positions = dict.fromkeys(PARTITIONS, 0)
    for index, partition in enumerate(PARTITIONS):
        patience = 50
        while (more := await poll(world, ports, "last", history, index, positions, partition)) is not False:
            patience -= more is None
            if patience == 0:
                raise Refuted(f"not live: {partition} cannot be read after the last fault")
        history.append(End(partition, 0, positions[partition], "last"))


def make_log(name: str, acknowledge: Acknowledge) -> Scenario:
    async def run(world: World, plan: Plan) -> str:
        history: list[Event] = []
        disk = SimulatedDisk(world.device(SERVER))  # the operator's directory, made before the first start
        disk.make_directory("/data")
        disk.sync_directory("/")
        world.start(SERVER, log_program(world, acknowledge))
        workers = []
        for host in PRODUCERS:
            life = world.open_life(host)
            workers.append(world.run_in(life, produce(world, life.ports, host, history)))
        readers = []
        for host in READERS:
            life = world.open_life(host)
            until_us = (LENGTH_MS + 2_000) * 1000
            readers.append(world.run_in(life, follow(world, life.ports, host, history, until_us)))
        await run_plan(world, plan, (SERVER,), LENGTH_MS)
        await asyncio.gather(*workers, *readers)
        last = world.open_life("last")
        await world.run_in(last, read_to_the_end(world, last.ports, history))
        return judge(history)

    faults = (
        Fault.KILL,
        Fault.POWER_FAILURE,
        Fault.CRASH_AT_WRITE,
        Fault.PAUSE,
        Fault.ISOLATION,
        Fault.LOSSY,
        Fault.SLOW_DISK,
    )
    about = "one log directory under kills, power failures and retries"
    return Scenario(name, about, (SERVER,), LENGTH_MS, run, WorldConfig(time_limit_ms=180_000), faults)


def judge(history: list[Event]) -> str:
    """Raises `Refuted` where the checker finds anything, or a producer was never answered."""
    report = check_log(history)
    if not report.ok:
        raise Refuted(str(report))
    if report.acknowledged < report.sends:
        raise Refuted(f"not live: {report.sends - report.acknowledged} sends were never answered")
    if report.unseen:
        raise Refuted(f"{report.unseen} acknowledged records were not read at the end")
    return str(report)


LOG = make_log("log", acknowledge_durable)
FAILING_DISK = replace(LOG, name="failing-disk", faults=(*FATAL, Fault.POWER_FAILURE))
