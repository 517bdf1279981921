"""The one exception a user is meant to see."""


class SrTvmError(Exception):
    """Bad input or a failed step, told in one line: what is wrong, and what would be right.

    The command line prints the message and exits with code 1; every other exception is a bug of ours.
    """
