"""The limits of the framed transport."""

from dataclasses import dataclass

from kraftpy.runtime.limits import INT32_MAX, INT64_MAX, check_limits

KIB = 1024
MIB = 1024 * KIB
SYSTEM = -1
"""What the operating system does by itself."""


@dataclass(frozen=True, slots=True)
class FramedConfig:
    """What one transport holds and waits for, at most. Checked when it is made."""

    frame_bytes_max: int = 100 * MIB
    """The largest request that is taken, and sent (socket.request.max.bytes). Raising it raises what one peer can
    occupy. Answers are as large as they were asked for."""
    receive_bytes_max: int = 256 * MIB
    """All large frames together of which a server holds bytes, while it receives or handles them; the rest waits in its
    sockets. One frame of the largest size may come on top, so that somebody always gets on."""
    in_flight_max: int = 64
    """Requests of one connection that are handled or answered at once; beyond that the server stops reading, and the
    client's next request waits. Raising it raises what a slow reader can pile up."""
    connections_max: int = 4096
    """Of one listener (max.connections). Each costs a descriptor and about 2 KiB."""
    connections_per_address_max: int = 1024
    """Of one listener from one address (max.connections.per.ip), so that one host cannot shut out the others."""
    crowded_per_address_max: int | None = None
    """The same while three quarters of `connections_max` are taken; None: no other. So that several hosts cannot shut
    out the rest either."""
    passed_on_max: int = 256
    """Of them, those that speak HTTP/2 and are passed on to where calls are taken. Clients of ours are here only until
    they know the other address; each costs a second descriptor."""
    idle_ms: int = 600_000
    """A connection that asks nothing for so long is closed (connections.max.idle.ms)."""
    hello_ms: int = 600_000
    """A connection that has said nothing at all is closed after so long, where HTTP/2 could be spoken as well."""
    stall_ms: int = 30_000
    """A peer that stops in the middle of a frame is closed after so long. One that stops reading answers as well, if
    these occupy more than `unread_bytes_max`; else it counts as idle. Java's consumers ask ahead for what they read
    once the program has handled what it was given, which may take its time."""
    unread_bytes_max: int = MIB
    """What answers to a peer that does not read, and large frames of it, may occupy until it counts as idle. Ranges of
    files are not in memory, but for a piece of a cold one."""
    send_buffer_bytes: int = 256 * KIB
    """The kernel's send buffer of a connection (socket.send.buffer.bytes). Larger ones help distant readers; -1 leaves
    it to the kernel, which lets it grow with what the peer takes."""
    backlog: int = 128
    """Connections that wait to be accepted (socket.listen.backlog.size)."""

    def __post_init__(self) -> None:
        check_limits(
            ("socket.request.max.bytes", self.frame_bytes_max, 1, INT32_MAX),  # an int32 precedes a frame
            ("receive_bytes_max", self.receive_bytes_max, 1, INT64_MAX),
            ("in_flight_max", self.in_flight_max, 1, INT32_MAX),
            ("max.connections", self.connections_max, 1, INT32_MAX),
            ("max.connections.per.ip", self.connections_per_address_max, 1, INT32_MAX),
            ("passed_on_max", self.passed_on_max, 1, INT32_MAX),
            ("connections.max.idle.ms", self.idle_ms, 1, INT64_MAX),
            ("hello_ms", self.hello_ms, 1, INT64_MAX),
            ("stall_ms", self.stall_ms, 1, INT64_MAX),
            ("unread_bytes_max", self.unread_bytes_max, 1, INT64_MAX),
            ("socket.listen.backlog.size", self.backlog, 1, INT32_MAX),
        )
        if self.crowded_per_address_max is not None:
            check_limits(("crowded_per_address_max", self.crowded_per_address_max, 1, INT32_MAX))
        if self.send_buffer_bytes != SYSTEM:
            check_limits(("socket.send.buffer.bytes", self.send_buffer_bytes, 1, INT32_MAX))
        if self.receive_bytes_max < self.frame_bytes_max:
            raise ValueError("receive_bytes_max must have room for one frame of socket.request.max.bytes")
