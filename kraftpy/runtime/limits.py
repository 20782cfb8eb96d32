"""How large whole numbers may be, on the wire and in files, and the check of settings against limits like these."""

from typing import Final

INT16_MAX: Final = 2**15 - 1
INT32_MAX: Final = 2**31 - 1
INT64_MAX: Final = 2**63 - 1


def check_limits(*rows: tuple[str, float, float, float]) -> None:
    """For configuration classes: each row is a setting's name, its value, and the least and the most that it may be.

    Raises `ValueError` for the first that lies outside.
    """
    for name, value, least, most in rows:
        if not least <= value <= most:
            raise ValueError(f"{name} lies between {least} and {most}, not {value}")
