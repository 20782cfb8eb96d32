"""What clients do in a simulated cluster, as `run` drives it: prepare, work beside the faults, be judged.

A workload is a class without arguments, listed in `options.WORKLOADS`.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, cast

from kraftpy.aio import Admin
from simulation.cluster import Cluster
from simulation.simulate.options import WORKLOADS, Options
from simulation.verdicts import CheckVerdict
from simulation.world import Life, World


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a workload works."""

    world: World
    cluster: Cluster
    options: Options
    until_us: int  # when clients are to end

    @property
    def rate(self) -> float:
        """Operations a virtual second that are this workload's part."""
        return self.options.rate / len(self.options.workloads)


class Workload(Protocol):
    """Every method is called once, in this order; `operations` at any time."""

    async def prepare(self, admin: Admin) -> None:
        """Make the topics, before anything goes wrong."""

    def start(self, stage: Stage) -> Sequence["asyncio.Task[None]"]:
        """Begin; each client lives in a life of its own (`World.open_life`), and ends by `stage.until_us`."""

    async def judge(self, stage: Stage, life: Life) -> Sequence[CheckVerdict]:
        """When the world is calm and the cluster healthy: read what there is, and judge what clients saw."""

    def operations(self) -> dict[str, int]:
        """How many of what clients have done so far."""


def open_workload(name: str) -> Workload:
    """A new one by its name in `WORKLOADS`."""
    module, _, attribute = WORKLOADS[name].partition(":")
    return cast(Workload, getattr(import_module(module), attribute)())
