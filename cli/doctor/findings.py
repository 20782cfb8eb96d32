"""What probes mean, and which setting to change. Pure.

A client asks a bootstrap address who the brokers are, and from then on uses the addresses that it was told: each node's
`advertised.listeners`. Nearly everything that goes wrong is an address there which means something else, or nothing,
where the client runs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cli.doctor.probing import Outcome, Probe, is_loopback
from kraftpy.runtime.ports import Address


@dataclass(frozen=True, slots=True)
class Finding:
    """One address: whether a client can use it; if not, why, and what to do."""

    address: Address
    ok: bool
    problem: str = ""
    advice: str = ""


def judge_bootstrap(probe: Probe, listeners: Sequence[Address] = ()) -> Finding:
    """`listeners`: where Kafka's protocol is served, if the address was one that takes calls."""
    address, outcome = probe.address, probe.outcome
    if outcome is Outcome.OK:
        if probe.answer is not None and not probe.answer.brokers:
            return Finding(
                address,
                False,
                "it knows of no broker yet",
                "the node has not joined its cluster: its log says what it waits for",
            )
        return Finding(address, True)
    return Finding(address, False, _what(probe), _bootstrap_advice(probe, listeners))


def judge_advertised(
    node_id: int, probe: Probe, cluster_id: str | None, bootstrap: Sequence[Probe], others: Mapping[Address, int]
) -> Finding:
    """`others`: other nodes' addresses, by which two that tell the same one are found."""
    address = probe.address
    setting = f"advertised.listeners of node {node_id}"
    if address in others:
        return Finding(
            address,
            False,
            f"node {others[address]} tells the same address, so clients of one reach the other",
            f"give each node an address of its own: {setting}=NAME://HOST:PORT",
        )
    if probe.outcome is Outcome.OK:
        told = probe.answer.cluster_id if probe.answer is not None else None
        if told != cluster_id:
            return Finding(
                address,
                False,
                f"another cluster answers there ({told})",
                f"{setting} must name that node itself; {address} is somebody else's, seen from here",
            )
        return Finding(address, True)
    if is_loopback(probe.resolved) and not all(is_loopback(each.resolved) for each in bootstrap):
        return Finding(
            address,
            False,
            f"{address.host} means the client's own machine, and the node is on another",
            f"set {setting}=NAME://HOST:{address.port}, HOST being a name or address by which clients reach that node",
        )
    return Finding(address, False, _what(probe), _advertised_advice(setting, probe))


def _what(probe: Probe) -> str:
    told = probe.outcome.value
    if probe.outcome is Outcome.UNKNOWN_NAME:
        return f"{told}: {probe.address.host}"
    return f"{told} ({probe.detail})" if probe.detail and probe.outcome is not Outcome.CALLS else told


def _bootstrap_advice(probe: Probe, listeners: Sequence[Address]) -> str:
    address = probe.address
    match probe.outcome:
        case Outcome.UNKNOWN_NAME:
            return "give a name or address that this machine knows"
        case Outcome.REFUSED:
            return (
                f"see whether the node runs, and whether its listeners name this address and port {address.port}; one "
                f"that is bound to 127.0.0.1 is reached from its own machine only"
            )
        case Outcome.UNREACHABLE | Outcome.SILENT_CONNECT:
            return "see whether the machine is up, and whether a firewall lets this port through"
        case Outcome.CALLS:
            if listeners:
                told = ", ".join(map(str, listeners))
                return f"kraftpy's own clients may use it; clients of Kafka are to use {told}"
            return "kraftpy's own clients may use it; clients of Kafka are to use a port of listeners, usually 9092"
        case Outcome.TLS:
            return "use a listener that is PLAINTEXT, or set security.protocol=SSL in the client"
        case Outcome.CLOSED | Outcome.SILENT:
            return "see the log of the node that listens there; a port mapping without a node behind it does this too"
        case _:
            return "give the port of a Kafka listener, usually 9092"


def _advertised_advice(setting: str, probe: Probe) -> str:
    match probe.outcome:
        case Outcome.UNKNOWN_NAME:
            return f"set {setting} to a name that clients can look up, or to an address"
        case Outcome.CALLS:
            return f"{setting} names the port of the calls under the name of a Kafka listener: exchange them"
        case Outcome.REFUSED:
            return f"if the node runs, {setting} names a port or an address where it does not listen"
        case _:
            return f"if the node runs, set {setting} to an address that clients can reach, and open its port"
