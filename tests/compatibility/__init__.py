"""Do other people's clients work? Every client times every capability, against kraftpy or against Apache Kafka itself.

    make compatibility                           # kraftpy; `--cluster kafka` is the check of the cases themselves
    python -m tests.compatibility --only kcat --kill-leaders

A case that Apache Kafka fails is a wrong case. The cases are data (`capabilities`, and the tables at the top of the
files in `clients`); `programs` holds what runs in other languages, small programs of our own that speak one protocol
(`line_protocol`). Whatever they need is installed into one folder outside the checkout (`cache`), and a client that
cannot be had on this machine is a row that says why. `clusters` starts both kinds of cluster and nothing else kills or
starts a node. The result is the matrix of docs/compatibility.md (`matrix`).

Plain pytest collects only `test_*.py` here: the Python clients, against kraftpy.
"""
