"""All clients, in the order of the matrix."""

from tests.compatibility.case import Client
from tests.compatibility.clients.java_tools import JAVA_TOOLS
from tests.compatibility.clients.python import PYTHON_CLIENTS

CLIENTS: tuple[Client, ...] = (*PYTHON_CLIENTS, JAVA_TOOLS)
