"""Known bugs, put back: what the checks are worth.

Begin with `bug.py`, what a known bug is, and `catalogue.py`, which lists all of them by the part that they are in. Each
is put into a copy of the sources (`overlay.py`), and looked for there by a process of its own (`search.py`, `find.py`,
`finders.py`). `python -m tests.bugs` runs them all and writes docs/known-bugs.md; `make bugs` is that command.
"""
