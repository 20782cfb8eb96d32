"""All clients, in the order of the matrix."""

from tests.compatibility.case import Client
from tests.compatibility.clients.compiled import COMPILED
from tests.compatibility.clients.java_applications import JAVA_APPLICATIONS
from tests.compatibility.clients.java_library import JAVA_LIBRARY
from tests.compatibility.clients.java_tools import JAVA_TOOLS
from tests.compatibility.clients.kcat import KCAT
from tests.compatibility.clients.node import NODE_CLIENTS
from tests.compatibility.clients.python import PYTHON_CLIENTS
from tests.compatibility.clients.tutorials import TUTORIALS

LIBRARIES: tuple[Client, ...] = (*PYTHON_CLIENTS, JAVA_LIBRARY, *NODE_CLIENTS, *COMPILED)
CLIENTS: tuple[Client, ...] = (*LIBRARIES, KCAT, JAVA_TOOLS, *TUTORIALS, JAVA_APPLICATIONS)
