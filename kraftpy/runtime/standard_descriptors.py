"""The descriptors 0 to 2, which libuv takes for standard streams whatever they are, and ends the process where they are
closed: a program that was started without one of them, as by `<&-`, must not get its event loop there."""

import os


def open_standard_descriptors() -> None:
    """Open the null device on each of the three that is closed. Before the first event loop."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # the lowest that is free
            os.set_inheritable(opened, True)
