"""Tells whoever started this process how it stands: systemd's readiness protocol (sd_notify).

A unit with `Type=notify` counts as started once the node is in service, and `kraftpy.testing` waits for the same word.
Without NOTIFY_SOCKET in the environment nobody asked, and nothing happens.
"""

import os
import socket

READY = "READY=1"
STOPPING = "STOPPING=1"


def tell_supervisor(state: str) -> None:
    """Send one state. A supervisor that has gone is no reason to fail."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):  # Linux's abstract names begin with a zero byte
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.setblocking(False)
            out.sendto(state.encode(), address)
    except OSError:
        pass
