"""The `kraftpy` command: finds the server's folders, then runs `cli`.

Installed from a wheel they lie in `kraftpy/_server/`; in a checkout, and in an editable install, they are this
package's neighbours. Either place goes to the front of the path, so that no folder of the same name elsewhere (there
are a `raft` and a `cli` on PyPI) is imported instead.
"""

import sys
from pathlib import Path


def main() -> None:
    """Run the command line of this process; exits with its code."""
    package = Path(__file__).resolve().parent
    installed = package / "_server"
    sys.path.insert(0, str(installed if installed.is_dir() else package.parent))

    from kraftpy.runtime.standard_descriptors import open_standard_descriptors

    open_standard_descriptors()

    from cli.app import run

    run()


if __name__ == "__main__":
    main()
