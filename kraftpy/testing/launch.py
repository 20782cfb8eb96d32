"""How a node's process begins: it waits for one line on its standard input, then becomes the `kraftpy` command.

    python -m kraftpy.testing.launch node --id 1 …

The line comes once the reaper knows the process. Where the test dies in between, the input ends and so does this, so
there is no moment in which a node could be forgotten.
"""

import sys

if __name__ == "__main__":
    if not sys.stdin.readline():
        sys.exit(1)
    sys.argv[0] = "kraftpy"

    from kraftpy.__main__ import main

    main()
