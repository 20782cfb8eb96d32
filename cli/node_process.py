"""One node of a cluster, in this process.

Reads environment and file beside what it was told, builds the real ports and runs the server. SIGTERM and SIGINT are a
controlled shutdown: leaderships move first, then exit code 0; a second signal ends at once.
"""

import errno
import sys
from typing import TYPE_CHECKING

from cli.exit_codes import FAILED, USAGE
from cli.node_line import NodeLine
from cli.supervisor import READY, STOPPING, tell_supervisor

SAME_SIGNAL_S = 0.5  # `timeout` and some supervisors signal the process and then its group: that is told once
DISK_THREADS_MAX = 32

if TYPE_CHECKING:
    from broker.config import NodeConfig
    from broker.server import Server
    from kraftpy.runtime.loop_watch import LoopWatch, Stall
    from kraftpy.runtime.ports import Ports


def run_node(line: NodeLine) -> int:
    """Run one node until it is told to stop, or fails; the process's exit code. Raises `ConfigurationError`."""
    import gc

    gc.disable()  # what a start loads stays: looking through it again and again costs a tenth of the start
    return _run(*_configured(line))


def _configured(line: NodeLine) -> "tuple[NodeConfig, tuple[str, ...]]":
    import os

    from broker.configure import configure
    from kraftpy.errors import ConfigurationError

    try:
        text = line.config.read_text(encoding="utf-8") if line.config else ""
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{line.config} is not UTF-8: {error}") from None
    return configure(line.given(), os.environ, text, strict=line.strict)


def _run(config: "NodeConfig", notices: tuple[str, ...]) -> int:
    import logging
    from dataclasses import replace

    import uvloop

    from cli.descriptors import open_segments, raise_limit
    from kraftpy.runtime.calls_door import CONNECTIONS_MAX, DESCRIPTORS_PER_CONNECTION
    from kraftpy.runtime.logging import configure_logging

    configure_logging(config.node_id, line_format=config.log_format, level=config.log_level)
    log = logging.getLogger("kraftpy.node")
    framed_max = config.network.connections_max + config.network.passed_on_max  # each of these has a second one
    for_connections = CONNECTIONS_MAX * DESCRIPTORS_PER_CONNECTION + len(config.framed) * framed_max
    few = raise_limit(for_connections)
    config = replace(config, open_segments_max=open_segments(for_connections, len(config.log_dirs)))
    for notice in (*notices, *filter(None, (few,))):
        log.warning("%s", notice)
    if config.insecure_listeners:
        log.warning("listeners without authentication: whoever reaches them may read, write and administer everything")
    return uvloop.run(_serve(config))


async def _serve(config: "NodeConfig") -> int:
    import asyncio
    import gc
    import logging
    import signal

    from broker.maintenance.pool import MaintenanceProcesses
    from broker.process_figures import ProcessFigures
    from broker.server import Server
    from kraftpy.runtime.loop_watch import LoopWatch
    from kraftpy.runtime.memory import give_back_unused_memory, keep_freed_memory

    log = logging.getLogger("kraftpy.node")
    stopping = asyncio.Event()
    told_at: list[float] = []

    def stop() -> None:
        told_at.append(loop.time())
        if told_at[-1] - told_at[0] > SAME_SIGNAL_S:
            log.warning("told to stop a second time: ending at once")
            sys.stderr.flush()
            os_exit(1)
        stopping.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    keep_freed_memory()
    watch = LoopWatch(_tell_stall, give_back_unused_memory)
    figures = ProcessFigures(watch)
    ports = _ports(config)
    gc.freeze()
    gc.enable()
    server = Server(config, ports, MaintenanceProcesses, logging.getLogger().setLevel, figures)
    running = asyncio.create_task(_start_and_watch(server, watch))
    told = asyncio.create_task(stopping.wait())
    await asyncio.wait((running, told), return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        told.cancel()
        error = running.exception()
        assert error is not None, "the node's life ended without a reason"
        code = _tell_failure(error)
        await server.stop()
        return code
    tell_supervisor(STOPPING)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await server.stop()
    log.info("stopped")
    return 0


async def _start_and_watch(server: "Server", watch: "LoopWatch") -> None:
    import gc

    await server.start()
    gc.collect()
    gc.freeze()  # else each full collection looks through all modules again, and holds the loop for 30 ms
    watch.start()  # what a start holds up, nobody waits for
    tell_supervisor(READY)
    await server.wait_failed()


def _tell_stall(stall: "Stall") -> None:
    import logging

    from kraftpy.runtime.loop_watch import WAITED_TOLD_MS

    others = ""
    if stall.waited_ms > WAITED_TOLD_MS:
        others = "; others had them all: give the node processors of its own, or more weight than the others have"
    logging.getLogger("kraftpy.node").warning(
        "the event loop served nobody for %d ms, of which it waited %d ms for a processor%s",
        stall.lasted_ms,
        stall.waited_ms,
        others,
    )


def _tell_failure(error: BaseException) -> int:
    """Log why the node stops, and give the exit code. What was foreseen is a sentence, the rest a traceback."""
    import logging

    from kraftpy.errors import ConfigurationError, KraftpyError

    log = logging.getLogger("kraftpy.node")
    if isinstance(error, OSError):
        file = f": {error.filename}" if error.filename else ""
        log.error("the node stops: %s%s", error.strerror or error, file)
        if error.errno == errno.EADDRINUSE:
            log.error("another node or program has that port: stop it, or choose another one (--listen, --listeners)")
    elif isinstance(error, KraftpyError):
        log.error("the node stops: %s: %s", error.name, error)
    else:
        log.error("the node stops: %s", error, exc_info=error)
    return USAGE if isinstance(error, ConfigurationError) else FAILED


def _ports(config: "NodeConfig") -> "Ports":
    """The real world."""
    import os
    from random import Random

    from kraftpy.runtime.clock import SystemClock
    from kraftpy.runtime.disk import LocalDisk
    from kraftpy.runtime.framed_transport import TcpFramedTransport
    from kraftpy.runtime.grpc_transport import GrpcTransport
    from kraftpy.runtime.ports import Ports

    disk = LocalDisk(threads=_disk_threads(config))
    return Ports(
        clock=SystemClock(),
        random=Random(os.urandom(32)),
        disk=disk,
        transport=GrpcTransport(),
        framed=TcpFramedTransport(disk.run, config.network),
    )


def _disk_threads(config: "NodeConfig") -> int:
    """Recovery's, where an operator wants more than the usual: the disks' queues are busier then."""
    from kraftpy.runtime.disk import THREADS

    return max(THREADS, min(config.recovery_threads * len(config.log_dirs), DISK_THREADS_MAX))


def os_exit(code: int) -> None:
    """End now, whatever is under way."""
    import os

    os._exit(code)
