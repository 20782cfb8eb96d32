"""The `kraftpy` command: nouns, then verbs.

`app` puts the nouns together and turns errors into sentences and exit codes. Each noun has a file: `node`, `dev`,
`topic` (with `produce` and `consume`), `cluster`, `quorum`, `demo`, `bench`. `options` holds what several of them take,
`output` how rows are printed. Data goes to stdout, everything else to stderr.

Typing `kraftpy --help` must not take longer than 0.2 s, so whatever is heavy (gRPC, the SDK, the server) is imported
inside the commands.
"""
