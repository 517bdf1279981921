"""The one exception a user is meant to see."""


class SrTvmError(Exception):
    """Bad input or a failed step, told in one line: what is wrong, and what would be right.

    The command line prints the message and exits with code 1; every other exception is a bug of ours.
    """


def one_line(error: BaseException | str, limit: int = 300) -> str:
    """Find the line of a long message that says what happened: its last one, as TVM, Python and most programs write.

    Indented lines are quoted code and stand back behind others.

    Args:
        error: The exception or its message.
        limit: Characters at most.

    Returns:
        The line; of an exception without a message its class's name.
    """
    lines = [line.rstrip() for line in str(error).splitlines() if line.strip()]
    plain = [line for line in lines if not line.startswith("  ")] or lines
    if plain:
        return plain[-1].strip()[:limit]
    return type(error).__name__ if isinstance(error, BaseException) else ""
