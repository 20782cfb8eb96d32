"""The `kraftpy` command: nouns, then verbs.

`app` turns errors into sentences and `exit_codes`, `commands` puts the nouns together: its table `COMMANDS` says in
which file or folder each of them is. Some are spread over several: `node` (which `node_process` runs, and `node_line`
reads without typer), `topic` (with `produce` and `consume`), `group` (with `group_reset`). `options` holds what several
of them take, `output` how rows are printed. Data goes to stdout, everything else to stderr.

Typing `kraftpy --help` must not take longer than 0.2 s, so whatever is heavy (gRPC, the SDK, the server) is imported
inside the commands.
"""
