"""`kraftpy simulate`: a whole cluster on virtual time, one run or many.

`command` is the command line; `one_run` runs a seed, makes a failure smaller and tells its story; `report` prints.
"""
