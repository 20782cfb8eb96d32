"""Other people's clients, one file a family. `CLIENTS` (in `every`) names them all, in the order of the matrix."""
