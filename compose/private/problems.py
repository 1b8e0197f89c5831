"""What the person at the keyboard can mend."""


class Problem(Exception):
    """Printed without a traceback; the message says what to do. ``exit_code`` is 2 where nothing was started."""

    def __init__(self, message: str, *, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code
