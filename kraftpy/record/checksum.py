"""CRC-32C: the function of the package `crc32c`, without the rest of that package.

When it is imported, the package looks up its own version, for which it loads importlib.metadata with email, zipfile and
argparse: 20 ms that every start of a node or a client would pay for nothing. So its extension module is loaded alone,
under its own name, where whoever imports the package finds it again. Where it is not found (crc32c 2.4 is one module),
the package is imported as it is.
"""

import sys
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from typing import TYPE_CHECKING, Any

_EXTENSION = "crc32c._crc32c"


def _extension() -> Any:
    package = None if "crc32c" in sys.modules else find_spec("crc32c")  # looks for it, and does not load it
    places = None if package is None else package.submodule_search_locations
    spec = None if places is None else PathFinder.find_spec(_EXTENSION, places)
    if spec is None or spec.loader is None:
        import crc32c

        return crc32c
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules[_EXTENSION] = module
    return module


if TYPE_CHECKING:
    from crc32c import crc32c as crc32c
else:
    crc32c = _extension().crc32c
