"""Client programs, a process each, the same for every cluster: `python -m bench.versus.programs.NAME JSON`.

The one argument is an object with what the program's docstring names. What it found is one JSON object on the last line
of its output.
"""
