"""Finalized levels rise by an operator's word, once every node supports them (KIP-584).

Every node: registered brokers, in service or not (one that is down comes back one day, and could not), the voters that
are no brokers, and this node. Nothing is ever lowered: what was written at a higher level would be lost.
"""

from collections.abc import Iterator

from broker.controller.cluster import Cluster
from broker.controller.commands import FeatureChange, FeaturesUpdated, UpdateFeatures
from broker.controller.result import FeaturesFinalized, Result
from broker.metadata.features import SUPPORTED_FEATURES
from broker.metadata.records import FeatureLevelRecord, SupportedFeature
from kraftpy.errors import FeatureUpdateFailedError, InvalidUpdateVersionError


class Features:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def update(self, command: UpdateFeatures) -> Result[FeaturesUpdated]:
        finalized = self._cluster.image.features
        wanted = command.levels or self._highest_common(command)
        if command.silent_voters:
            listed = ", ".join(map(str, command.silent_voters))
            raise FeatureUpdateFailedError(
                f"the voters {listed} do not answer, so nobody knows what they support: start them, or take them out "
                "of the quorum (kraftpy quorum remove), then try again"
            )
        changes = []
        for name, level in sorted(wanted.items()):
            present = finalized.get(name, 0)
            if level != present:
                self._check(name, present, level, command)
                changes.append(FeatureChange(name, present, level))
        answer = FeaturesUpdated(tuple(changes))
        if command.validate_only or not changes:
            return Result(answer)
        records = [FeatureLevelRecord(change.name, change.new_level) for change in changes]
        told = ", ".join(f"{change.name}={change.new_level}" for change in changes)
        return Result(answer, records, facts=(FeaturesFinalized(told),))

    def _check(self, name: str, present: int, level: int, command: UpdateFeatures) -> None:
        if name not in [feature.name for feature in SUPPORTED_FEATURES]:
            raise InvalidUpdateVersionError(
                f"there is no feature {name}; this release knows "
                + ", ".join(feature.name for feature in SUPPORTED_FEATURES)
            )
        if level < present:
            raise InvalidUpdateVersionError(
                f"{name} cannot go back from {present} to {level}: the metadata already says, or may say, what level "
                f"{level} has no words for, and it would be lost. Restore a backup that was taken before the upgrade"
            )
        for who, supported in self._nodes(command):
            feature = next((each for each in supported if each.name == name), None)
            if feature is None or not feature.min_level <= level <= feature.max_level:
                has = "does not know it" if feature is None else f"knows {feature.min_level} to {feature.max_level}"
                raise InvalidUpdateVersionError(
                    f"{name}={level} is not possible: {who} {has}. Start it with the newer release first, or, if it is "
                    "gone for good, unregister it"
                )

    def _nodes(self, command: UpdateFeatures) -> Iterator[tuple[str, tuple[SupportedFeature, ...]]]:
        yield "the controller", SUPPORTED_FEATURES
        for broker_id, broker in sorted(self._cluster.image.brokers.items()):
            state = "" if broker.is_active else " (not in service)"
            yield f"broker {broker_id}{state}", broker.registration.features
        for voter in command.voters:
            if voter.node_id not in self._cluster.image.brokers:
                yield f"voter {voter.node_id}", voter.features

    def _highest_common(self, command: UpdateFeatures) -> dict[str, int]:
        """Of each feature the highest level that every node supports, if it is higher than the present one."""
        levels = {}
        nodes = [{each.name: each.max_level for each in supported} for _, supported in self._nodes(command)]
        for feature in SUPPORTED_FEATURES:
            highest = min(known.get(feature.name, 0) for known in nodes)
            if highest > self._cluster.image.features.get(feature.name, 0):
                levels[feature.name] = highest
        return levels
