"""What the exit codes of the command mean.

| exit code | what it means |
|---|---|
| 0 | done |
| 1 | refused, failed, or not answered in time: Kafka's error name and a sentence on stderr; `verify`: replicas differ |
| 2 | the command line or a setting is wrong |
| 3 | no node could be reached |
| 4 | `cluster health`, `log-dirs describe`, `doctor`: problems; `demo`, `simulate`, `check-history`, `bench`: unclean |
| 130 | interrupted |
"""

FAILED = 1
USAGE = 2
UNREACHABLE = 3
UNCLEAN = 4
INTERRUPTED = 130
