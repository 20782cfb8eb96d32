"""What one run of `kraftpy simulate` is made of. Its text is a scenario's name, so that a run is told in one word.

simulate:nodes=5,minutes=30,workload=log+metadata,faults=kill+pause,rate=20
simulate:nodes=3,minutes=360,workload=log,faults=all,rate=1,calm=20
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from simulation.fault_kinds import ALL, Fault, faults_named
from simulation.hosts import hosts_of

PREFIX = "simulate:"
NODES, MINUTES, RATE = 5, 30.0, 20.0
NODES_MIN, NODES_MAX = 3, 9
VOTERS_MAX = 5
MINUTES_MAX = 24 * 60
RATE_MAX = 1_000

WORKLOADS: Mapping[str, str] = MappingProxyType(
    {
        "log": "simulation.simulate.log_workload:LogWorkload",
        "groups": "simulation.simulate.groups_workload:GroupsWorkload",
        "transactions": "simulation.simulate.transactions_workload:TransactionsWorkload",
        "metadata": "simulation.simulate.metadata_workload:MetadataWorkload",
    }
)
"""Where each workload is made (`workload.Workload`), in the order in which they are started and judged."""


class InvalidOptions(ValueError):
    """The message says which option is wrong, and what it may be."""


@dataclass(frozen=True, slots=True)
class Options:
    """One run. Raises `InvalidOptions` or `UnknownFault`."""

    nodes: int = NODES  # brokers, of which up to five vote
    minutes: float = MINUTES  # of virtual time with faults and clients
    workloads: tuple[str, ...] = tuple(WORKLOADS)
    faults: tuple[Fault, ...] = ALL  # that are drawn from
    rate: float = RATE  # operations of all clients together, a virtual second, about
    calm: float = 0.0  # minutes without faults after each minute with them

    def __post_init__(self) -> None:
        _within("nodes", self.nodes, NODES_MIN, NODES_MAX)
        _within("minutes", self.minutes, 0.01, MINUTES_MAX)
        _within("rate", self.rate, 0.1, RATE_MAX)
        _within("calm", self.calm, 0, MINUTES_MAX)
        if not self.workloads:
            raise InvalidOptions("there is no workload; one of " + ", ".join(("all", *WORKLOADS)) + " is needed")

    @property
    def hosts(self) -> tuple[str, ...]:
        return hosts_of(self.nodes)

    @property
    def length_ms(self) -> int:
        return max(1, round(self.minutes * 60_000))

    @property
    def calm_ms(self) -> int:
        return round(self.calm * 60_000)

    @property
    def slowness(self) -> float:
        """How many times as long it takes until programs come and go and operators do something again."""
        return 1 + self.calm

    def __str__(self) -> str:
        calm = f",calm={self.calm:g}" if self.calm else ""
        faults = "all" if self.faults == ALL else "+".join(fault.value for fault in self.faults) or "none"
        return (
            f"{PREFIX}nodes={self.nodes},minutes={self.minutes:g},workload={'+'.join(self.workloads)},"
            f"faults={faults},rate={self.rate:g}{calm}"
        )


def workloads_named(names: Iterable[str]) -> tuple[str, ...]:
    """Workloads by their names, `all` for all. Raises `InvalidOptions`."""
    wanted: dict[str, None] = {}
    for name in names:
        if name != "all" and name not in WORKLOADS:
            raise InvalidOptions(f"there is no workload {name!r}; there are all, {', '.join(WORKLOADS)}")
        wanted.update(dict.fromkeys(WORKLOADS if name == "all" else [name]))
    return tuple(name for name in WORKLOADS if name in wanted)


def parse_options(text: str) -> Options:
    """The options of a scenario's name. Raises `InvalidOptions` or `UnknownFault`."""
    settings: dict[str, str] = {
        "nodes": str(NODES),
        "minutes": str(MINUTES),
        "workload": "all",
        "faults": "all",
        "rate": str(RATE),
        "calm": "0",
    }
    for pair in filter(None, text.removeprefix(PREFIX).split(",")):
        name, _, value = pair.partition("=")
        if name not in settings:
            raise InvalidOptions(f"a simulation has no option {name!r}; it has {', '.join(settings)}")
        settings[name] = value
    try:
        return Options(
            nodes=int(settings["nodes"]),
            minutes=float(settings["minutes"]),
            workloads=workloads_named(settings["workload"].split("+")),
            faults=faults_named(settings["faults"].split("+")),
            rate=float(settings["rate"]),
            calm=float(settings["calm"]),
        )
    except InvalidOptions:
        raise
    except ValueError as error:
        raise InvalidOptions(str(error)) from None


def _within(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise InvalidOptions(f"{name} is {value:g}, and must be from {least:g} to {most:g}")
