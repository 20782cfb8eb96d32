import subprocess
import sys

from kraftpy.record.checksum import crc32c

SCRIPT = """
import sys
from kraftpy.record.checksum import crc32c
print("crc32c" in sys.modules, "importlib.metadata" in sys.modules)
import crc32c as package
print(package.crc32c is crc32c, package.crc32c(b"123456789"))
"""


def test_the_value_that_every_crc_is_known_by() -> None:
    assert crc32c(b"123456789") == crc32c(b"6789", crc32c(b"12345")) == 0xE3069283


def test_the_rest_of_the_package_is_not_loaded_and_can_be_later() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    alone, together = done.stdout.splitlines()
    assert alone == "False False" or alone.startswith("True"), "crc32c 2.4 is one module"
    assert together == f"True {0xE3069283}"
