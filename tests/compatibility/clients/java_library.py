"""kafka-clients itself, tried as every other library."""

from collections.abc import Sequence

from tests.compatibility.cache import PROGRAMS, Cache, tool
from tests.compatibility.clients.java_tools import KAFKA_VERSION
from tests.compatibility.clients.library import Library


def command(cache: Cache) -> Sequence[str]:
    classes = cache.classes("kafka-4", sorted((PROGRAMS / "java" / "library").glob("*.java")))
    level = "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"
    return [tool("java"), "-Xmx256m", "-XX:TieredStopAtLevel=1", level, "-cp", classes, "Capabilities"]


JAVA_LIBRARY = Library(f"kafka-clients {KAFKA_VERSION} (Java)", command)
