"""Where the nodes of a simulated cluster live: node 3 on host `n3`. Pure."""


def host_of(node_id: int) -> str:
    return f"n{node_id}"


def node_id_of(host: str) -> int:
    return int(host[1:])


def hosts_of(nodes: int) -> tuple[str, ...]:
    """The hosts of so many nodes, which count from 1."""
    return tuple(host_of(node_id) for node_id in range(1, nodes + 1))
