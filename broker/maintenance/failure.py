"""Why a job came to nothing."""


class JobFailed(Exception):
    """`is_permanent`: the log itself cannot be cleaned (a damaged batch), so trying again changes nothing.

    `is_unreadable`: the device gave an error, of a bad sector perhaps; the scrub finds out.
    """

    def __init__(self, message: str, *, is_permanent: bool, is_unreadable: bool = False) -> None:
        super().__init__(message)
        self.is_permanent = is_permanent
        self.is_unreadable = is_unreadable
