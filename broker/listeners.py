"""Addresses as operators write them: the quorum's voters, and listeners.

    controller.quorum.voters=1@one:9093, 2@two:9093, 3@three:9093
    listeners=PLAINTEXT://:9092,GRPC://:9093
    advertised.listeners=PLAINTEXT://broker1.example:9092

One listener serves calls (the quorum's and the SDK's): the one that `controller.listener.names` names, GRPC unless told
otherwise, so that Kafka's usual `CONTROLLER://:9093` does. All others serve Kafka's protocol. What is left out follows
from the rest: a voter's calls listen where the voters' list says, and the framed listener one port below; the calls of
others one port above that, or on the next that is free.

Pure: text in, addresses out. Names are not resolved.
"""

import ipaddress
from collections.abc import Mapping
from itertools import combinations

from broker.config import Listener, VoterAddress
from broker.metadata.records import GRPC_LISTENER
from kraftpy.errors import ConfigurationError
from kraftpy.runtime.ports import Address

DEFAULT_GRPC = Address("127.0.0.1", 9093)
WILDCARDS = ("", "0.0.0.0", "::")


def parse_address(text: str, setting: str) -> Address:
    """`host:port` or `[v6]:port`; an empty host is every interface. Raises `ConfigurationError`."""
    host, colon, port = text.strip().rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65_535 or (":" in host and not bracketed):
        raise ConfigurationError(f"{setting}: '{text.strip()}' is not HOST:PORT")
    return Address(host[1:-1] if bracketed else host, int(port))


def parse_addresses(text: str, setting: str) -> list[Address]:
    """`host:port, …`. Raises `ConfigurationError`."""
    return [parse_address(part, setting) for part in _parts(text)]


def parse_voters(text: str) -> tuple[VoterAddress, ...]:
    """`1@host:port, 2@…`, sorted by id. Raises `ConfigurationError` where an id or an address stands twice."""
    setting = "controller.quorum.voters"
    voters = []
    for part in _parts(text):
        node_id, at, address = part.partition("@")
        if not at or not node_id.strip().isascii() or not node_id.strip().isdigit():
            raise ConfigurationError(f"{setting}: '{part}' is not ID@HOST:PORT")
        voter = VoterAddress(int(node_id), parse_address(address, setting))
        if voter.address.host in WILDCARDS or voter.address.port == 0:
            raise ConfigurationError(f"{setting}: '{part}' is not an address that the other nodes could reach")
        voters.append(voter)
    for kind, seen in (
        ("id", [str(each.node_id) for each in voters]),
        ("address", [str(each.address) for each in voters]),
    ):
        twice = next((each for each in seen if seen.count(each) > 1), None)
        if twice is not None:
            raise ConfigurationError(f"{setting}: {kind} {twice} stands there twice")
    return tuple(sorted(voters))


def listeners_of(node_id: int, voters: tuple[VoterAddress, ...], values: Mapping[str, str]) -> tuple[Listener, ...]:
    """The calls listener first, then the framed ones.

    `voters` may be empty: a cluster of one. Raises `ConfigurationError`.
    """
    calls_name = _calls_name(values)
    bound = _named_addresses(values.get("listeners", ""), "listeners", calls_name)
    advertised = _named_addresses(values.get("advertised.listeners", ""), "advertised.listeners", calls_name)
    own = next((voter.address for voter in voters if voter.node_id == node_id), None)
    bound = _completed(bound, own)
    _check_ports(bound)
    _check_protocols(values, list(dict.fromkeys((calls_name.upper(), *bound))))
    for name in advertised:
        if name not in bound:
            raise ConfigurationError(
                f"advertised.listeners names {name}, which is not among listeners ({', '.join(bound)})"
            )
    hosts = [address.host for address in (own, *advertised.values()) if address is not None]
    told = {name: _told(name, address, advertised.get(name), own, hosts) for name, address in bound.items()}
    if values.get("insecure.listeners.enable", "false").strip().lower() != "true":
        _check_loopback(bound)
    return tuple(
        Listener(name, bound[name], told[name]) for name in sorted(bound, key=lambda name: name != GRPC_LISTENER)
    )


def is_own_address(address: Address, values: Mapping[str, str]) -> bool:
    """Whether a node without voters would be reached at `address`, as far as its settings tell."""
    calls_name = _calls_name(values)
    bound = _completed(_named_addresses(values.get("listeners", ""), "listeners", calls_name), None)
    advertised = _named_addresses(values.get("advertised.listeners", ""), "advertised.listeners", calls_name).values()
    if address in advertised:
        return True
    hosts = [each.host for each in advertised]
    return any(
        address.port == each.port
        and (
            address.host == each.host
            or (is_loopback(address.host) and (each.host in WILDCARDS or is_loopback(each.host)))
            or (address.host in hosts and each.host in WILDCARDS)
        )
        for each in bound.values()
    )


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def connectable(bound: Address) -> Address:
    """How this machine itself reaches a listener that is bound to `bound`."""
    if bound.host not in WILDCARDS:
        return bound
    return Address("::1" if bound.host == "::" else "127.0.0.1", bound.port)


def _calls_name(values: Mapping[str, str]) -> str:
    """As the operator calls the listener that serves calls."""
    return values.get("controller.listener.names", GRPC_LISTENER).split(",")[0].strip() or GRPC_LISTENER


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _named_addresses(text: str, setting: str, calls_name: str) -> dict[str, Address]:
    """`NAME://host:port, …` in order; the calls listener under the name that is always its own."""
    addresses: dict[str, Address] = {}
    for part in _parts(text):
        name, separator, address = part.partition("://")
        if not separator or not name:
            raise ConfigurationError(f"{setting}: '{part}' is not NAME://HOST:PORT")
        name = GRPC_LISTENER if name.upper() in (calls_name.upper(), GRPC_LISTENER) else name.upper()
        if name in addresses:
            raise ConfigurationError(f"{setting}: {name} stands there twice")
        addresses[name] = parse_address(address, setting)
    return addresses


def _completed(bound: dict[str, Address], own: Address | None) -> dict[str, Address]:
    """With the listeners that the operator left out."""
    if GRPC_LISTENER in bound:
        calls = bound[GRPC_LISTENER]
    elif own is not None:
        calls = own
    else:
        calls = DEFAULT_GRPC
        framed = next(iter(bound.values()), None)
        if framed is not None:  # beside the framed listener, as the other way round
            calls = Address(framed.host, _free_port_beside(framed.port, [each.port for each in bound.values()]))
    rest = {name: address for name, address in bound.items() if name != GRPC_LISTENER}
    return {GRPC_LISTENER: calls, **(rest or {"PLAINTEXT": Address(calls.host, max(calls.port - 1, 0))})}


def _free_port_beside(port: int, taken: list[int]) -> int:
    """The next one above that no listener has, or below where there is none; any (0) beside any."""
    if port == 0:
        return 0
    candidates: tuple[int, ...] = (*range(port + 1, 65_536), *range(port - 1, 0, -1))
    return next(each for each in candidates if each not in taken)


def _told(
    name: str, bound: Address, advertised: Address | None, own: Address | None, hosts: list[str]
) -> Address | None:
    """What others are told of a listener; None: as bound. `hosts`: names of this node that are known from elsewhere."""
    if advertised is not None:
        if advertised.host in WILDCARDS:
            raise ConfigurationError(f"advertised.listeners: {name} names no address that others could use")
        return advertised
    if own is not None and name == GRPC_LISTENER:
        return own
    if bound.host not in WILDCARDS:
        return None
    if hosts:
        return Address(hosts[0], bound.port)
    raise ConfigurationError(
        f"{name} listens on every interface: advertised.listeners={name}://HOST:{bound.port} must say which address "
        f"others are to use"
    )


def _check_ports(bound: Mapping[str, Address]) -> None:
    """Two listeners with one port: the system would name the second only, which the operator may not have given."""
    names = sorted(bound, key=lambda name: name == GRPC_LISTENER)
    for one, other in combinations(names, 2):
        first, second = bound[one], bound[other]
        hosts = (first.host, second.host)
        is_shared = first.host == second.host or any(host in WILDCARDS for host in hosts)
        if ":" in "".join(hosts) and "0.0.0.0" in hosts and "::" not in hosts:
            is_shared = False  # one speaks IPv6 and the other IPv4; `::` speaks both
        if is_shared and first.port == second.port != 0:
            told = first if second.host in WILDCARDS else second
            raise ConfigurationError(f"listeners: {one} and {other} cannot both have {told}: give each a port")


def _check_protocols(values: Mapping[str, str], names: list[str]) -> None:
    """`names`: as the operator may give them, which the calls' listener has two of."""
    protocols = dict.fromkeys(names, "PLAINTEXT")
    protocols |= {name: name for name in names if name in ("SSL", "SASL_PLAINTEXT", "SASL_SSL")}
    for part in _parts(values.get("listener.security.protocol.map", "")):
        name, colon, protocol = part.partition(":")
        if not colon:
            raise ConfigurationError(f"listener.security.protocol.map: '{part}' is not NAME:PROTOCOL")
        protocols[name.strip().upper()] = protocol.strip().upper()
    for name in names:
        if protocols[name] != "PLAINTEXT":
            raise ConfigurationError(f"listener {name}: {protocols[name]} is not served yet, only PLAINTEXT")


def _check_loopback(bound: Mapping[str, Address]) -> None:
    for name, address in bound.items():
        if not is_loopback(address.host):
            raise ConfigurationError(
                f"listener {name}://{address} can be reached from other machines, and has no authentication: whoever "
                f"reaches it may read, write and administer everything. Where that is acceptable, set "
                f"insecure.listeners.enable=true (--insecure-listeners)"
            )
