"""The judges of histories: what clients saw is checked against what a log, or a register, may show.

`history` is what is judged and its format on disk; `log_checker` judges sends and polls of partitions in O(n log n);
`linearizability` judges any small model by search, and answers *unknown* rather than *ok* when it gives up.
"""
