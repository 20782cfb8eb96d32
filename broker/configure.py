"""Turns what an operator says into a `NodeConfig`.

Flags win over the environment, the environment over the file, the file over defaults. `configure` is pure; the command
reads file and environment for it. What it has to say (comments left out, settings without effect, unknown names) comes
back as sentences, each once.

Everything is checked here, once: a `ConfigurationError` names the setting and says what to do.
"""

import ast
import inspect
import re
from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from functools import cache
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from broker.config import NodeConfig, VoterAddress
from broker.controller.config import ControllerConfig
from broker.coordinator.config import StateTopicsConfig
from broker.coordinator.groups.config import GroupConfig
from broker.coordinator.transactions.config import TransactionConfig
from broker.listeners import is_own_address, listeners_of, parse_addresses, parse_voters
from broker.maintenance.config import CompactionConfig, ScrubConfig
from broker.metadata.topic_config import check_compaction_lags, topic_setting
from broker.properties import parse_properties, settings_in_environment
from broker.replication.config import ReplicationConfig
from broker.settings import BY_NAME, SETTINGS, NodeSetting, sort_out
from kraftpy.errors import ConfigurationError, InvalidConfigError
from kraftpy.runtime.framed_config import FramedConfig
from kraftpy.runtime.limits import INT32_MAX, check_limits
from log_store.config import LogConfig
from raft.config import RaftConfig

COMPONENTS: dict[str, type[Any]] = {
    "log": LogConfig,
    "raft": RaftConfig,
    "controller": ControllerConfig,
    "replication": ReplicationConfig,
    "network": FramedConfig,
    "compaction": CompactionConfig,
    "scrub": ScrubConfig,
    "state_topics": StateTopicsConfig,
    "groups": GroupConfig,
    "transactions": TransactionConfig,
}

_NEVER_BLANK = frozenset({"node.id", "controller.quorum.voters", "log.dirs", "listeners"})
"""A variable that a script forgot to fill: the default would be another node, or a cluster of one."""

_READ_BY_NAME = frozenset({"node.voters", "node.roles", "node.framed", "node.log_dirs"})


_RAISED_ALONG = {
    "network": ("frame_bytes_max", "receive_bytes_max"),
    "replication": ("fetch_backoff_ms", "fetch_backoff_max_ms"),
}
"""By component: a field that is set, and one above it that no setting has, which must not be in its way."""


class Configured(NamedTuple):
    config: NodeConfig
    notices: tuple[str, ...]
    """Worth one line each at the start; unknown names among them."""


class DescribedSetting(NamedTuple):
    name: str
    value: str
    given: bool
    """Whether the operator set it; else `value` is the default."""
    documentation: str


def configure(
    flags: Mapping[str, str], environment: Mapping[str, str], file: str = "", *, strict: bool = False
) -> Configured:
    """Make a node's configuration from settings under Kafka's names.

    `file` is the text of a server.properties; `strict` refuses unknown names. Raises `ConfigurationError`.
    """
    properties = parse_properties(file)
    _refuse_zookeeper_properties(properties.values)
    layers = (settings_in_environment(environment), dict(flags))
    known, notices, unknown = sort_out({**properties.values})
    for layer in layers:
        more, more_notices, more_unknown = sort_out(layer)
        known |= more
        notices += more_notices
        unknown += more_unknown
    if unknown and strict:
        raise ConfigurationError("; ".join(unknown))
    if "controller.quorum.voters" not in known and "zookeeper.connect" in properties.values:
        raise _voters_instead_of_zookeeper(properties.values)
    if "controller.quorum.voters" not in known:
        _refuse_others_without_voters(ChainMap(*reversed(layers), properties.values), known)
    said = dict.fromkeys((*properties.notices, *notices, *unknown))
    return Configured(build(known), tuple(said))


def build(values: Mapping[str, str]) -> NodeConfig:
    """A configuration from known settings. Raises `ConfigurationError`."""
    parts: dict[str, dict[str, Any]] = {"node": {}, **{name: {} for name in COMPONENTS}}
    topic_defaults: dict[str, str] = {}
    for setting in SETTINGS:  # in the table's order: of one quantity in several units the finest comes last
        text = values.get(setting.name, "").strip()
        if not text.strip(","):
            if setting.name in _NEVER_BLANK and setting.name in values:
                raise ConfigurationError(f"{setting.name} is blank: give it a value, or leave it out for the default")
            continue
        if setting.target and setting.target not in _READ_BY_NAME:
            component, field = setting.target.split(".")
            parts[component][field] = _value(setting, text)
        if setting.topic:
            topic_defaults[setting.topic] = _topic_default(setting, text)
    try:
        check_compaction_lags(topic_defaults)
    except InvalidConfigError as error:
        raise ConfigurationError(f"log.cleaner: {error}") from None
    parts["controller"]["topic_defaults"] = topic_defaults
    for name, (field, limit) in _RAISED_ALONG.items():
        if field in parts[name]:
            parts[name][limit] = max(parts[name][field], getattr(COMPONENTS[name](), limit))
    try:
        components = {name: kind(**parts[name]) for name, kind in COMPONENTS.items()}
    except (ValueError, InvalidConfigError) as error:  # each names the setting
        raise ConfigurationError(str(error)) from None
    config = NodeConfig(**parts["node"], **components, given=dict(values))
    return _checked(_placed(config, values))


def describe(config: NodeConfig) -> list[DescribedSetting]:
    """Every setting with its value, sorted by name."""
    return sorted(
        DescribedSetting(
            setting.name,
            config.given.get(setting.name) or default_of(setting, config),
            setting.name in config.given,
            documentation_of(setting),
        )
        for setting in SETTINGS
    )


def default_of(setting: NodeSetting, config: NodeConfig | None = None) -> str:
    """What holds where the operator says nothing (with `config`: on that node), as text."""
    if not setting.target:
        return setting.default
    component, field = setting.target.split(".")
    holder: Any = config or NodeConfig()
    value = getattr(holder if component == "node" else getattr(holder, component), field)
    if setting.scale != 1:
        value = value // setting.scale
    if isinstance(value, bool):
        return str(value).lower()
    if setting.name == "listeners":
        return ",".join(f"{each.name}://{each.bind}" for each in (*(value or ()), (config or NodeConfig()).grpc))
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return "" if value is None else str(value)


def documentation_of(setting: NodeSetting) -> str:
    """What the setting is and what raising it costs: the text at its field, or its own."""
    if not setting.target:
        return f"Default of the topic setting {setting.topic}." if setting.topic else setting.documentation
    component, field = setting.target.split(".")
    names = _setting_names(component)
    return re.sub(
        r"[a-z]+(_[a-z]+)+", lambda found: names.get(found[0], found[0]), _field_documentation(component)[field]
    )


@cache
def _setting_names(component: str) -> dict[str, str]:
    """By field of a configuration class: what an operator calls it; of several units the finest."""
    targets = ((*setting.target.split("."), setting.name) for setting in SETTINGS if setting.target)
    return {field: name for of, field, name in targets if of == component}


@cache
def _field_documentation(component: str) -> dict[str, str]:
    """The string below each field of a configuration class, which Python itself does not keep."""
    kind: type[Any] = NodeConfig if component == "node" else COMPONENTS[component]
    body = ast.parse(inspect.getsource(kind)).body[0]
    assert isinstance(body, ast.ClassDef)
    texts = {each.name: "" for each in fields(kind)}
    for statement, following in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(following, ast.Expr)
            and isinstance(following.value, ast.Constant)
        ):
            texts[statement.target.id] = " ".join(str(following.value.value).split())
    return texts


def _value(setting: NodeSetting, text: str) -> Any:
    """The text as the type that the field's default has."""
    component, field = setting.target.split(".")
    holder: Any = NodeConfig() if component == "node" else COMPONENTS[component]()
    default = getattr(holder, field)
    if setting.values:
        text = next((value for value in setting.values if value.lower() == text.lower()), text)
        if text not in setting.values:
            raise ConfigurationError(f"{setting.name} is one of {', '.join(setting.values)}, not '{text}'")
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise ConfigurationError(f"{setting.name} is true or false, not '{text}'")
        return text.lower() == "true"
    if isinstance(default, int):
        try:
            number = int(text)
        except ValueError:
            raise ConfigurationError(f"{setting.name} is a whole number, not '{text}'") from None
        return number * setting.scale if number > 0 else number  # -1 is "no limit" in every unit
    if isinstance(default, float):
        try:
            return float(text)
        except ValueError:
            raise ConfigurationError(f"{setting.name} is a number, not '{text}'") from None
    if isinstance(default, tuple):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    return text


def _topic_default(setting: NodeSetting, text: str) -> str:
    """The default of a topic setting, in its unit. Refused here, before the first replica reads it."""
    default = text if setting.scale == 1 else str(_value(setting, text))
    try:
        topic_setting(setting.topic).parse(default)
    except InvalidConfigError as error:
        named = str(error) if setting.name == setting.topic else f"{setting.name}: {error}"
        raise ConfigurationError(named) from None
    return default


def _placed(config: NodeConfig, values: Mapping[str, str]) -> NodeConfig:
    """With voters, listeners and directories."""
    voters = parse_voters(values.get("controller.quorum.voters", ""))
    grpc, *framed = listeners_of(config.node_id, voters, values)
    if not voters:
        alone = grpc.advertised or grpc.bind
        voters = (VoterAddress(config.node_id, alone),)
    directories = [part.strip() for part in values.get("log.dirs", "").split(",") if part.strip()]
    roles = tuple(dict.fromkeys(part.strip() for part in values.get("process.roles", "").split(",") if part.strip()))
    return replace(
        config,
        voters=voters,
        roles=roles or config.roles,
        grpc=grpc,
        framed=tuple(framed),
        log_dirs=tuple(directories or [f"kraftpy-data/node-{config.node_id}"]),
        replication=replace(config.replication, listener_name=config.replication.listener_name.upper()),
    )


def _checked(config: NodeConfig) -> NodeConfig:
    """The rules between settings of the node itself."""
    if any(role not in ("broker", "controller") for role in config.roles):
        raise ConfigurationError(f"process.roles is broker, controller or both, not '{','.join(config.roles)}'")
    if not config.is_controller and config.is_voter:
        raise ConfigurationError(
            f"process.roles says that node {config.node_id} is a broker only, yet it is among controller.quorum.voters "
            "(--peers): list there the nodes that vote"
        )
    owner = next((voter for voter in config.voters if voter.address == config.grpc.bind), None)
    if owner is not None and owner.node_id != config.node_id:
        raise ConfigurationError(
            f"node {config.node_id} would listen on {owner.address}, which is node {owner.node_id}'s in "
            "controller.quorum.voters: give it an address of its own (--listen), or the other id (--id)"
        )
    _check_directories(config.log_dirs)
    metadata = config.given.get("metadata.log.dir", "")
    if metadata and metadata != config.log_dirs[0]:
        raise ConfigurationError(f"metadata.log.dir is the first of log.dirs ({config.log_dirs[0]}), not {metadata}")
    listener = config.replication.listener_name
    if listener and listener not in [each.name for each in config.framed]:
        raise ConfigurationError(f"inter.broker.listener.name: {listener} is not among listeners")
    try:
        check_limits(
            ("node.id", config.node_id, 0, INT32_MAX),
            ("num.recovery.threads.per.data.dir", config.recovery_threads, 1, INT32_MAX),
            ("controlled.shutdown.timeout.ms", config.controlled_shutdown_timeout_ms, 0, INT32_MAX),
        )
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    return config


def _check_directories(names: Sequence[str]) -> None:
    """Each a directory of its own: what lies in another's would be taken for that one's partition."""
    paths = [PurePosixPath(name) for name in names]
    for number, path in enumerate(paths):
        for other in (*paths[:number], *paths[number + 1 :]):
            if path == other:
                raise ConfigurationError(f"log.dirs names a directory twice: {path}")
            if path.is_relative_to(other):
                raise ConfigurationError(f"log.dirs: {path} lies in {other}: give each a directory of its own")


def _refuse_others_without_voters(given: Mapping[str, str], known: Mapping[str, str]) -> None:
    """Kafka 4 finds its voters by asking; a node that is told of others, and of no voters, would found alone."""
    name = "controller.quorum.bootstrap.servers"
    servers = parse_addresses(given.get(name, ""), name)
    if all(is_own_address(server, known) for server in servers):
        return
    voters = ",".join(f"{number}@{server}" for number, server in enumerate(servers, start=1))
    raise ConfigurationError(
        f"{name} names other nodes, yet nothing says who votes, and without that this node would found a cluster of "
        "its own. Give every node the line below (id@host:port of each voter; the ids are their node.id) or say the "
        f"same with --peers:\ncontroller.quorum.voters={voters}"
    )


def _voters_instead_of_zookeeper(values: Mapping[str, str]) -> ConfigurationError:
    hosts = [part.strip().partition("/")[0].partition(":")[0] for part in values["zookeeper.connect"].split(",")]
    voters = ",".join(f"{number}@{host}:9093" for number, host in enumerate(filter(None, hosts), start=1))
    return ConfigurationError(
        "this file names ZooKeeper (zookeeper.connect), which nothing needs any more: the nodes coordinate themselves. "
        "Add the line below (id@host:port of each node; the ids are their broker.id) or say the same with --peers:\n"
        f"controller.quorum.voters={voters}"
    )


_ZOOKEEPER_PROPERTIES = {
    "dataDir": "log.dirs",
    "clientPort": "listeners (nodes and clients use the same ports)",
    "maxClientCnxns": "nothing: connections are limited by themselves",
    "tickTime": "controller.quorum.fetch.timeout.ms, controller.quorum.election.timeout.ms",
    "initLimit": "nothing: a node that starts waits for the others as long as it takes",
    "syncLimit": "controller.quorum.fetch.timeout.ms",
    "server.": "controller.quorum.voters=ID@HOST:PORT,… (--peers)",
    "admin.": "kraftpy quorum status",
    "autopurge.": "nothing: snapshots are taken and removed by themselves",
}


def _refuse_zookeeper_properties(values: Mapping[str, str]) -> None:
    """A zookeeper.properties is answered with what each of its lines has become."""
    if "clientPort" not in values or any(name in BY_NAME for name in values):
        return
    rows = [
        f"  {name}={value}  ->  {counterpart}"
        for name, value in values.items()
        for prefix, counterpart in _ZOOKEEPER_PROPERTIES.items()
        if name == prefix or (prefix.endswith(".") and name.startswith(prefix))
    ]
    raise ConfigurationError("this is a zookeeper.properties, and there is no ZooKeeper to run:\n" + "\n".join(rows))
