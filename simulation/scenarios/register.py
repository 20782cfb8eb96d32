"""A register on one node, written to disk before it is acknowledged: the smallest system worth breaking.

It shows the whole way: nodes with ports, clients whose calls may end unknown, faults, and a history judged for
linearizability. `make_register` takes the order of acknowledging and syncing, so that tests can plant the classic bug.
"""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

from kraftpy.runtime.ports import Address, Methods, Ports, TransportError
from simulation.checkers.history import Json, Operation, Outcome
from simulation.checkers.linearizability import check_linearizable, worst
from simulation.checkers.models import Register
from simulation.faults import Fault, Plan, run_plan
from simulation.scenario import Refuted, Scenario
from simulation.verdicts import Verdict
from simulation.world import World, WorldConfig

SERVER = "n1"
CLIENTS = ("c1", "c2", "c3")
ADDRESS = Address(SERVER, 9093)
PATH = "/data/register"
CALL_TIMEOUT_MS = 800
LENGTH_MS = 10_000

Save = Callable[[Ports, bytes], Awaitable[None]]


async def save_durably(ports: Ports, value: bytes) -> None:
    """The value is on the medium before anybody hears of it."""
    await ports.disk.run(lambda: ports.disk.write_atomically(PATH, value))


def register_program(save: Save) -> Callable[[Ports], Awaitable[None]]:
    async def program(ports: Ports) -> None:
        ports.disk.make_directory("/data")
        ports.disk.sync_directory("/")
        value = ports.disk.read_bytes(PATH) if ports.disk.exists(PATH) else b""
        writing = asyncio.Lock()

        async def write(request: bytes) -> bytes:
            nonlocal value
            async with writing:
                await save(ports, request)
                value = request
            return b""

        async def read(_: bytes) -> bytes:
            async with writing:  # else a value could be seen, and be gone after a crash before it was durable
                return value

        await ports.transport.serve(Address("0.0.0.0", ADDRESS.port), Methods({"/r/Write": write, "/r/Read": read}, {}))
        await asyncio.get_running_loop().create_future()

    return program


async def client(world: World, ports: Ports, name: str, history: list[Operation]) -> None:
    """Writes unique values and reads, until the time with faults is over, and once more at its end."""
    random = Random(f"{world.seed}/client/{name}")
    number = 0
    while world.loop.now_us < LENGTH_MS * 1000:
        number += 1
        if random.random() < 0.5:
            await operate(world, ports, name, history, "write", f"{name}-{number}")
        else:
            await operate(world, ports, name, history, "read", None)
        await asyncio.sleep(random.random() * 0.4)


async def operate(
    world: World, ports: Ports, name: str, history: list[Operation], function: str, argument: str | None
) -> None:
    """One call and its record in the history. A write that got no answer may have happened; a read has no effect."""
    invoked_us = world.loop.now_us
    method, request = ("/r/Write", (argument or "").encode()) if function == "write" else ("/r/Read", b"")
    result: Json = None
    outcome, completed_us = Outcome.OK, None
    try:
        response = await ports.transport.call(ADDRESS, method, request, CALL_TIMEOUT_MS)
        completed_us = world.loop.now_us
        result = None if function == "write" else (response.decode() or None)
    except TransportError:
        outcome = Outcome.UNKNOWN if function == "write" else Outcome.FAILED
    history.append(Operation(name, "register", function, argument, result, invoked_us, completed_us, outcome))


def make_register(name: str, save: Save) -> Scenario:
    async def run(world: World, plan: Plan) -> str:
        history: list[Operation] = []
        program = register_program(save)

        async def serve(ports: Ports) -> None:
            await program(ports)

        world.start(SERVER, serve)
        workers = []
        for host in CLIENTS:
            life = world.open_life(host)
            workers.append(world.run_in(life, client(world, life.ports, host, history)))
        await run_plan(world, plan, (SERVER,), LENGTH_MS)
        await asyncio.gather(*workers)
        last = world.open_life("c0")
        await asyncio.sleep(1)
        await world.run_in(last, operate(world, last.ports, "c0", history, "read", None))
        return judge(history)

    faults = (Fault.KILL, Fault.POWER_FAILURE, Fault.CRASH_AT_WRITE, Fault.PAUSE, Fault.ISOLATION, Fault.LOSSY)
    about = "one register on one node, written through to its disk"
    return Scenario(name, about, (SERVER,), LENGTH_MS, run, WorldConfig(time_limit_ms=120_000), faults)


def judge(history: list[Operation]) -> str:
    """Raises `Refuted` unless the history is linearizable and its last read was answered."""
    if history[-1].outcome is not Outcome.OK:
        raise Refuted(f"not live: the last read was not answered: {history[-1]}")
    reports = check_linearizable(_that_matter(history), Register())
    if worst(reports) is not Verdict.OK:
        raise Refuted("\n".join(map(str, reports)))
    known = sum(operation.outcome is Outcome.OK for operation in history)
    return f"linearizable: {len(history)} operations, {known} of them answered"


def _that_matter(history: list[Operation]) -> list[Operation]:
    """Without the writes of unknown outcome whose value nobody read: as good as never having happened, and dozens of
    them, after a long pause, are more than the search can try the orders of."""
    read = {operation.result for operation in history if operation.function == "read"}
    return [each for each in history if each.outcome is not Outcome.UNKNOWN or each.argument in read]


REGISTER = make_register("register", save_durably)
