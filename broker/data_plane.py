"""What a broker has beside the quorum: its replicas, with what coordinates and maintains them, and the doors to them.

The parts are put together here; `server` starts them, in its order, and stops them. A node that is no broker has them
too, so that every door answers, but holds nothing in them, and none is started.
"""

from collections.abc import Callable
from contextlib import AsyncExitStack

from broker.config import NodeConfig
from broker.coordinator import later
from broker.coordinator.finding import CoordinatorFinder
from broker.coordinator.group_coordinators import GroupCoordinators
from broker.coordinator.transactions.service import TransactionService
from broker.directories import Directories
from broker.dynamic_settings import DynamicSettings
from broker.kafka.door import KafkaDoor
from broker.kafka.fetch_codec import FollowerFetchCodec
from broker.lifecycle import Lifecycle
from broker.maintenance.heavy_work import HeavyWork
from broker.maintenance.jobs import Worker
from broker.metadata.delta import MetadataDelta
from broker.metadata.image import MetadataImage
from broker.metrics import AllOf, Observed
from broker.node_view import NodeView
from broker.producer_ids import ProducerIds
from broker.quorum.loader import MetadataLoader
from broker.replication.replicas import Replicas
from broker.rpc import services
from broker.rpc.active_controller import ActiveController
from broker.rpc.client_service import ClientService
from broker.rpc.methods import merged
from broker.successors import States, Successors
from broker.topic_creation import TopicCreation
from kraftpy.runtime.ports import Methods, Ports


class DataPlane:
    """See the module's docstring. Nothing runs yet when it is made; `close` after all that was started has ended."""

    def __init__(
        self,
        config: NodeConfig,
        ports: Ports,
        directories: Directories,
        view: NodeView,
        loader: MetadataLoader,
        active: ActiveController,
        make_worker: Callable[[], Worker],
        set_log_level: Callable[[str], None],
    ) -> None:
        """`make_worker()`: see `server`. `set_log_level`: of this process."""
        self._config = config
        self._ports = ports
        self._view = view
        self._loader = loader
        self._active = active
        self.replicas = Replicas(
            config.node_id,
            lambda: active.broker_epoch,
            ports,
            directories.all,
            config.replication,
            active,
            FollowerFetchCodec(),
            config.controller.topic_defaults,
            config.log,
            lambda: directories.unusable,
        )
        self.heavy_work = HeavyWork(
            self.replicas, make_worker, ports.clock, config.compaction, config.scrub, config.log_dirs
        )
        self._dynamic_settings = DynamicSettings(
            config.node_id,
            config.given,
            {
                **self.heavy_work.settings(),
                "log.level": set_log_level,
                "replica.alter.log.dirs.io.max.bytes.per.second": lambda text: self.replicas.limit_moves(int(text)),
            },
        )
        self.lifecycle = Lifecycle(
            active,
            ports.clock,
            config.controller.broker_heartbeat_interval_ms,
            config.controller.broker_session_timeout_ms,
            config.controller.initial_broker_registration_timeout_ms,
            lambda: self.replicas.failed_directory_ids,
            self.replicas.availability,
        )
        self.replicas.is_unheard = lambda: self.lifecycle.is_unheard
        successors = Successors(
            config.node_id, lambda: loader.image, ports.transport, ports.clock, self._tell_successors
        )
        self.replicas.on_deserted = successors.look_for
        loader.on_leader_changed = self.lifecycle.report_soon
        self._build_coordinators()
        self.kafka = KafkaDoor(
            view,
            config,
            self.replicas,
            self._topic_creation,
            self._producer_ids,
            active,
            ports.transport,
            ports.clock,
            self._finder,
            self._groups,
            self.transactions,
        )

    def _build_coordinators(self) -> None:
        config, ports, loader = self._config, self._ports, self._loader
        self._finder = CoordinatorFinder(
            config.state_topics,
            lambda: self._view.image,
            lambda names: self._topic_creation.ensure(names),
            lambda: len(config.voters) == 1 and len(loader.image.brokers) <= 1,
        )
        self._groups = GroupCoordinators(config.groups, lambda: loader.image, ports.clock, ports.disk, ports.random)
        self.replicas.leadership_listeners[self._groups.topic] = self._groups
        self._topic_creation = TopicCreation(self._active, config.auto_create_topics, self._view, self._finder.template)
        self._producer_ids = ProducerIds(self._active.allocate_producer_ids)
        self.transactions = TransactionService(
            config.node_id,
            config.transactions,
            ports,
            lambda: loader.image,
            self.replicas,
            self._finder,
            self._producer_ids,
            self._groups,
        )

    def methods(self, *observed: Observed) -> Methods:
        """What it answers to calls. `observed`: what else of this node tells how it stands."""
        config, ports = self._config, self._ports
        everything = AllOf(self.heavy_work.observed_compaction, self.heavy_work.scrubber, *observed)
        return merged(
            self.transactions.methods(),
            ClientService(
                self._view,
                self.replicas,
                self._producer_ids,
                self._topic_creation,
                ports.disk,
                config.replication.listener_name,
            ).methods(),
            services.transactions(lambda: services.TransactionsService(self.transactions, self.replicas).methods()),
            services.groups(
                lambda: services.GroupsService(self._groups, self._finder.find, lambda: self._loader.image).methods()
            ),
            services.admin(
                lambda: services.AdminService(
                    self._view,
                    config,
                    self._active,
                    self.replicas,
                    ports.transport,
                    everything,
                    self.heavy_work.digester,
                ).methods()
            ),
        )

    def publish(self, image: MetadataImage, delta: MetadataDelta) -> None:
        """The next image of the metadata; `delta` is what differs from the one before."""
        self._dynamic_settings.apply(image, delta)
        if self._config.is_broker:
            later.load_for(topic.new.name for topic in delta.topics if topic.new is not None)
            self.replicas.apply(image, delta)
            self._groups.apply(delta)

    def _tell_successors(self, states: States) -> None:
        """Clients hear of them; and who has coordinated by what they lead now does so no longer."""
        self._view.tell_successors(states)
        for topic_id, partition in states:
            topic = self._loader.image.topic_by_id(topic_id)
            listener = None if topic is None else self.replicas.leadership_listeners.get(topic.name)
            if listener is not None:
                listener.left(partition)

    async def close(self) -> None:
        async with AsyncExitStack() as closing:
            closing.callback(self._groups.stop)
            closing.push_async_callback(self._topic_creation.stop)
            closing.push_async_callback(self.heavy_work.stop)
