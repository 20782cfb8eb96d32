"""One node: where its parts are put together (what a broker has besides, in `data_plane`), and their start and stop.

    log directories, locked and identified
    → calls are served (others may ask who this is)
    → the founding rule: into which cluster
    → the replica of the quorum, and meanwhile the data logs with their recovery
    → the framed listeners
    → registration, catching up, in service

A node that is no broker (`process.roles=controller`) has only the quorum's part of this: no data, no framed listeners,
no registration.

Stopping goes the other way, after the controller has moved this broker's leaderships and the quorum's leadership has
been handed on. Whatever breaks for good breaks the node: `wait_failed` then raises, and whoever runs it stops it.

Not here: what an operator may say (`broker.configure`), signals and exit codes (`cli.node_process`).
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from functools import partial
from typing import Any
from uuid import UUID

from broker.config import Listener, NodeConfig
from broker.controller.observed import ObservedController
from broker.controller.shell import Controller
from broker.data_plane import DataPlane
from broker.directories import Directories
from broker.kafka.misdirected import Misdirected
from broker.listeners import connectable
from broker.maintenance.jobs import Worker
from broker.metadata.delta import MetadataDelta
from broker.metadata.features import RELEASE, SUPPORTED_FEATURES
from broker.metadata.image import MetadataImage
from broker.metadata.records import Endpoint, RegisterBrokerRecord, SupportedFeature
from broker.metrics import AllOf, Observed
from broker.node_view import NodeView
from broker.opening import open_logs
from broker.quorum.founding import Founding
from broker.quorum.loader import MetadataLoader
from broker.quorum.log import QuorumLog
from broker.quorum.metadata_log import QuorumMetadataLog
from broker.quorum.voter_changes import VoterChanges
from broker.quorum.votes import QuorumStateFile
from broker.rpc.active_controller import ActiveController
from broker.rpc.control import ControlService
from broker.rpc.controller_admin import ControllerAdmin
from broker.rpc.methods import merged
from broker.rpc.probe import BrokerProbe
from broker.rpc.quorum import QuorumClient, QuorumService
from broker.rpc.quorum_admin import QuorumAdmin
from kraftpy.errors import KafkaStorageError, KraftpyError
from kraftpy.runtime.ports import Address, Disk, Ports
from log_store.log_directory import LogDirectory
from raft.errors import Stopped
from raft.events import NodeId, ReplicaKey
from raft.founding import ListedVoter
from raft.node import RaftNode
from raft.ports import Peer

logger = logging.getLogger(__name__)

TRANSFER_TIMEOUT_MS = 2_000
CATCH_UP_TIMEOUT_MS = 10_000  # then a line tells what is waited for, and it is tried again
CATCH_UP_PAUSE_MS = 200  # where that fails at once
STOP_GRACE_MS = 500  # for calls that are being answered


class Server:
    """See the module's docstring. `start` once, then `wait_failed`, in the end `stop`, also after a failed start."""

    release: str = RELEASE
    supported_features: tuple[SupportedFeature, ...] = SUPPORTED_FEATURES
    """What this node tells the cluster that it can work with."""

    def __init__(
        self,
        config: NodeConfig,
        ports: Ports,
        make_worker: Callable[[], Worker] | None = None,
        set_log_level: Callable[[str], None] = lambda level: None,
        process: Observed | None = None,
    ) -> None:
        """`make_worker()` carries out heavy work: processes of their own in the real world; None: on a disk thread.
        `set_log_level`: of this process; called where an operator changes it while the node runs. `process`: how this
        process does, for whoever asks the node."""
        self._config = config
        self._make_worker = make_worker or partial(_inline_worker, ports.disk)
        self._set_log_level = set_log_level
        self._process = process or AllOf()
        self._ports = ports
        self._closing = AsyncExitStack()  # what has been started, to be stopped in reverse
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._failure: asyncio.Future[None] | None = None
        self._logs_are_open = False
        self._broker_epoch = -1
        self._incarnation_id = UUID(int=ports.random.getrandbits(128), version=4)

    # --- life --------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start, and return when the node is in service; waits for other voters as long as it takes.

        Raises `ConfigurationError` and `InconsistentClusterIdError` for what an operator must put right, `OSError` for
        what the machine refuses, and whatever broke the node before it was in service.
        """
        self._failure = asyncio.get_running_loop().create_future()
        starting = asyncio.ensure_future(self._start())
        try:
            await _first_of(starting, self._failure)
        finally:
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)

    async def wait_failed(self) -> None:
        """Return never; raises what broke the node."""
        assert self._failure is not None, "start first"
        await asyncio.shield(self._failure)

    async def stop(self) -> None:
        """Hand leaderships on, answer who can be answered, write everything, and release everything."""
        await self._closing.aclose()

    async def _start(self) -> None:
        config, ports = self._config, self._ports
        self._closing.push_async_callback(ports.transport.close)
        self._directories = await Directories.open(
            ports.disk,
            config.log_dirs,
            config.node_id,
            ports.random,
            open_segments_max=config.open_segments_max,
            recovery_threads=config.recovery_threads,
        )
        self._closing.push_async_callback(self._close_directories)
        for home in self._directories.all:
            home.fence.on_failure(partial(self._directory_failed, home))
        for path, reason in self._directories.unusable.items():
            logger.error(
                "the log directory %s cannot be used: %s. The node starts without it; its replicas are offline "
                "until it can be, or leaves log.dirs",
                path,
                reason,
            )
        self._key = ReplicaKey(NodeId(config.node_id), self._directories.ids[0])
        self._quorum_log = await QuorumLog.open(ports.disk, ports.clock, self._directories.first.path)
        self._closing.callback(self._quorum_log.close)
        await self._build()
        self._closing.push_async_callback(self._data.close)
        self._closing.push_async_callback(self._end_tasks)
        endpoints: list[Endpoint] = []  # the calls' first
        misdirected = Misdirected(ports.clock, endpoints)
        calls = await ports.transport.serve(config.grpc.bind, self._methods, misdirected.open)
        self._closing.push_async_callback(calls.stop, STOP_GRACE_MS)
        grpc = _endpoint(config.grpc, calls.address)
        endpoints.append(grpc)
        self._quorum_client.own_address = self._quorum_service.own_address = Address(grpc.host, grpc.port)
        self._closing.push_async_callback(self._controller.stop)
        if not config.is_broker:
            await self._join_quorum()
            await self._control_only()
            return
        opening = asyncio.ensure_future(self._open_logs())
        try:
            await self._join_quorum()
            await opening
        finally:
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)
        await self._data.replicas.start()
        assert self._data.replicas.failed is not None
        self._watch(self._data.replicas.failed)
        self._closing.push_async_callback(self._data.replicas.stop)
        self._closing.push_async_callback(self._data.transactions.stop)
        for listener in config.framed:
            router = self._data.kafka.router(listener.name)
            server = await ports.framed.serve(listener.bind, router.open, connectable(calls.address))
            self._closing.push_async_callback(server.stop, STOP_GRACE_MS)
            endpoints.append(_endpoint(listener, server.address))
        await self._enter_service(endpoints)

    # --- building ----------------------------------------------------------------------------------------------------

    async def _build(self) -> None:
        """Everything that needs no waiting but for the disk. Nothing runs yet."""
        await self._build_quorum()
        control_service = self._build_control()
        self._data = DataPlane(
            self._config,
            self._ports,
            self._directories,
            self._view,
            self._loader,
            self._active,
            self._make_worker,
            self._set_log_level,
        )
        self._methods = merged(
            self._quorum_service.methods(),
            control_service.methods(),
            self._data.methods(ObservedController(self._controller), self._process),
        )

    async def _build_quorum(self) -> None:
        """The replica of the quorum, and what metadata makes of its log."""
        config, ports = self._config, self._ports
        clock, transport = ports.clock, ports.transport
        votes = QuorumStateFile(ports.disk, self._quorum_log.directory)
        self._closing.push_async_callback(votes.settle)
        listed = tuple(
            ListedVoter(NodeId(voter.node_id), voter.address.host, voter.address.port) for voter in config.voters
        )
        self._quorum_client = QuorumClient(transport, clock, may_vote=config.is_controller)
        self._founding = Founding(
            self._key,
            listed,
            self._quorum_log,
            clock,
            self._quorum_client.describe,
            remembered_cluster_id=self._directories.cluster_id,
            has_voted=await votes.load() is not None,
        )
        self._loader = MetadataLoader(self._publish)
        self._view = NodeView(config.node_id, self._loader, lambda: self._active.broker_epoch, clock)
        self._replica = RaftNode(
            config.raft,
            self._key,
            self._quorum_log,
            votes,
            self._quorum_client,
            self._loader,
            clock,
            ports.random,
            bootstrap=tuple(Peer(voter.node_id, voter.host, voter.port) for voter in listed),
        )
        self._quorum_client.on_address = self._replica.tell_address
        self._quorum_service = QuorumService(self._founding, self.supported_features, self.release)

    def _build_control(self) -> ControlService:
        """The controller, for when this node leads the quorum, and the way to whoever does."""
        config, ports = self._config, self._ports
        clock, transport = ports.clock, ports.transport
        self._controller = Controller(
            config.controller,
            QuorumMetadataLog(self._replica, self._loader, clock),
            BrokerProbe(self._loader, transport),
            clock,
            ports.random,
        )
        self._voter_changes = VoterChanges(
            self._replica,
            self._controller.change_voters,
            self._quorum_service.address_of,
            clock,
            config.raft.fetch_timeout_ms,
        )
        quorum_admin = QuorumAdmin(
            self._controller, self._replica, self._view, self._voter_changes, self._quorum_client.describe_release
        )
        control_service = ControlService(
            config.node_id,
            self._incarnation_id,
            self._view,
            self._controller,
            ControllerAdmin(
                self._controller, self._replica, self._view, quorum_admin.methods, self._quorum_service.address_of
            ),
            self._committed_metadata,
        )
        self._active = ActiveController(
            config.node_id, self._view, self._loader, control_service, self._address_of, transport, clock
        )
        self._loader.on_leadership = self._lead
        self._loader.on_resignation = self._controller.resign
        self._quorum_service.on_abandoned_fetch = self._controller.suspect
        self._quorum_service.on_moved = self._voter_moved
        return control_service

    # --- starting ----------------------------------------------------------------------------------------------------

    async def _join_quorum(self) -> None:
        cluster_id = await self._founding.join()
        await self._directories.remember(cluster_id)
        self._view.cluster_id = cluster_id
        self._quorum_client.cluster_id = self._quorum_service.cluster_id = cluster_id
        await self._replica.start()
        self._watch(self._replica.failed)
        self._closing.push_async_callback(self._replica.stop)
        self._quorum_service.replica = self._replica
        self._spawn(self._founding.keep_looking())

    async def _control_only(self) -> None:
        """In service without being a broker: once the quorum has a leader, and all that it had committed is here."""
        self._closing.push_async_callback(self._leave_quorum)
        told_at_ms: int | None = None
        while True:
            try:
                await self._active.run("DescribeQuorum", b"", CATCH_UP_TIMEOUT_MS)
                break
            except KraftpyError as error:
                now_ms = self._ports.clock.monotonic_ms()
                if told_at_ms is None or now_ms - told_at_ms >= CATCH_UP_TIMEOUT_MS:
                    told_at_ms = now_ms
                    logger.info("waiting for the quorum: %s", error)
                await asyncio.sleep(CATCH_UP_PAUSE_MS / 1_000)
        self._view.joined()
        logger.info("node %d is a controller on %s", self._config.node_id, self._quorum_service.own_address)

    async def _open_logs(self) -> None:
        await open_logs(self._directories, self._config.log, self._ports.clock)
        self._logs_are_open = True

    async def _enter_service(self, endpoints: list[Endpoint]) -> None:
        config = self._config
        registration = RegisterBrokerRecord(
            config.node_id,
            self._incarnation_id,
            self._directories.ids[0],
            tuple(endpoints),
            config.rack,
            config.host_label,
            features=self.supported_features,
            log_directory_ids=self._directories.ids,
            release=self.release,
        )
        previous_epoch = await self._directories.previous_broker_epoch()
        self._broker_epoch = await self._data.lifecycle.register(registration, previous_epoch)
        await self._directories.note_life(self._broker_epoch)
        self._data.replicas.registered()
        self._spawn(self._data.heavy_work.compactor.run())
        self._spawn(self._data.heavy_work.scrubber.run())
        self._closing.push_async_callback(self._leave)
        self._spawn(self._data.lifecycle.run())
        await self._data.lifecycle.wait_in_service()
        told = ", ".join(f"{each.name} on {Address(each.host, each.port)}" for each in endpoints)
        logger.info("node %d serves: %s", config.node_id, told)

    def _publish(self, image: MetadataImage, delta: MetadataDelta) -> None:
        self._view.publish(delta)
        self._data.publish(image, delta)

    def _lead(self, epoch: int) -> None:
        """The brokers of the last controller's time may have died with it: each is looked at, most of all its own."""
        image = self._loader.image
        suspects = {
            broker_id: 0
            for broker_id, broker in image.brokers.items()
            if not broker.fenced and broker_id != self._key.node_id
        }
        last_leader = self._loader.previous_leader_id
        if last_leader in suspects:  # nobody else is asked so often that its silence would say anything
            suspects[last_leader] = self._quorum_client.silence_ms(last_leader)
        self._controller.activate(epoch, image, suspects)

    def _voter_moved(self, key: ReplicaKey, address: Address) -> None:
        if self._controller.is_active and not self._voter_changes.is_busy:
            self._spawn(self._voter_changes.move(key, address))

    def _committed_metadata(self) -> int:
        """The end of what the quorum has committed, as far as this node knows."""
        try:
            return self._replica.status().high_watermark
        except Stopped:
            return self._loader.image.end_offset

    def _address_of(self, node_id: int) -> Address | None:
        """Where the quorum reaches that node, and so may we: a cluster may have come back on other ports."""
        peer = self._replica.peer_of(NodeId(node_id))
        return None if peer is None else Address(peer.host, peer.port)

    # --- ending ------------------------------------------------------------------------------------------------------

    async def _leave(self) -> None:
        """A controlled shutdown, as far as the cluster lets it be one."""
        assert self._failure is not None
        if self._failure.done() or not self._config.controlled_shutdown:
            return
        if not await self._data.lifecycle.leave(self._config.controlled_shutdown_timeout_ms):
            logger.warning("stopping although not every leadership has moved")
        await self._leave_quorum()

    async def _leave_quorum(self) -> None:
        try:
            async with asyncio.timeout(TRANSFER_TIMEOUT_MS / 1_000):
                await self._replica.transfer_leadership()
        except (TimeoutError, Stopped):
            logger.warning("stopping although the quorum's leadership could not be handed on")

    def _directory_failed(self, home: LogDirectory, error: KafkaStorageError) -> None:
        """Without the first directory a node has no quorum log, and without any nothing to serve: it stops, as Kafka
        halts, rather than stay out of service until somebody looks."""
        if home is self._directories.first or all(each.failure is not None for each in self._directories.all):
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        assert self._failure is not None
        if not self._failure.done():
            self._failure.set_exception(error)
            self._failure.exception()  # whether anybody looks is the owner's matter

    async def _close_directories(self) -> None:
        await self._directories.close(clean=self._logs_are_open, broker_epoch=self._broker_epoch)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None) and None)
        self._watch(task)

    def _watch(self, vital: "asyncio.Future[None]") -> None:
        """The node fails with the first of these that does."""

        def ended(future: "asyncio.Future[None]") -> None:
            error = None if future.cancelled() else future.exception()
            if error is not None:
                self._fail(error)

        vital.add_done_callback(ended)

    async def _end_tasks(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _inline_worker(disk: Disk) -> Worker:
    from broker.maintenance.inline import InlineWorker  # with all that does the work, which a real node has elsewhere

    return InlineWorker(disk)


def _endpoint(listener: Listener, bound: Address) -> Endpoint:
    told = listener.advertised_as(bound)
    return Endpoint(listener.name, told.host, told.port)


async def _first_of(work: "asyncio.Future[None]", failure: "asyncio.Future[None]") -> None:
    """Wait for `work`, unless `failure` comes first. Raises what either raises."""
    first: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def done(_: "asyncio.Future[None]") -> None:
        if not first.done():
            first.set_result(None)

    work.add_done_callback(done)
    failure.add_done_callback(done)
    await first
    await (work if work.done() else asyncio.shield(failure))
