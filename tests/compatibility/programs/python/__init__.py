"""The programs in Python: they import the client and this package, nothing of kraftpy."""
