"""All known bugs, by name."""

from tests.bugs.bug import Bug
from tests.bugs.controller import CONTROLLER_BUGS, UPGRADE_BUGS
from tests.bugs.groups import GROUP_BUGS
from tests.bugs.logs import LOG_BUGS
from tests.bugs.quorum import QUORUM_BUGS
from tests.bugs.replication import REPLICATION_BUGS
from tests.bugs.rot import ROT_BUGS
from tests.bugs.transactions import CLIENT_BUGS, TRANSACTION_BUGS

PARTS: dict[str, tuple[Bug, ...]] = {
    "The quorum": QUORUM_BUGS,
    "The log": LOG_BUGS,
    "Replication": REPLICATION_BUGS,
    "The controller": CONTROLLER_BUGS,
    "Upgrades": UPGRADE_BUGS,
    "Transactions": TRANSACTION_BUGS,
    "Clients": CLIENT_BUGS,
    "Groups": GROUP_BUGS,
    "Bit rot": ROT_BUGS,
}

BUGS: dict[str, Bug] = {bug.name: bug for bugs in PARTS.values() for bug in bugs}
assert len(BUGS) == sum(map(len, PARTS.values())), "two bugs of one name"
