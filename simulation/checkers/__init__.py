"""The judges of histories: what clients saw is checked against what a log, or a register, may show.

`history` is what is judged and its format on disk; `log_checker` judges sends and polls of partitions in O(n log n);
`linearizability` judges any of the small `models` by search, and answers *unknown* rather than *ok* when it gives up.
`judging` has each part of a history judged by the one that understands it. `groups` and `transactions` judge what their
clients noted down of their own; `replicas` compares logs as they stand on disk.
"""
