"""The kinds of error that a person can meet, and the exit status each one has.

Everything here may be imported by everybody and imports nothing.
"""

import os


def words_of(error: OSError) -> str:
    """What the kernel says; asyncio puts words of its own in their place when it cannot connect."""
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or str(error)


class HoldfastError(Exception):
    """Base of all errors that end a command with a message instead of a traceback.

    Args:
        message: what was wrong with which value; lower case, no full stop.
        hint: what to do about it, printed on a line of its own.
    """

    exit_status = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UserError(HoldfastError):
    """The input is wrong (exit status 2)."""

    exit_status = 2


class MachineLacks(HoldfastError):
    """The machine has not what is needed: a program, a privilege, a kernel feature (exit status 3)."""

    exit_status = 3


class WorldError(HoldfastError):
    """A driver could not do, or could not confirm, what it was asked to do."""


class PeerError(HoldfastError):
    """The other end of a link broke the protocol, or could not prove who it is.

    Args:
        kind: what it is counted as (docs/bad-input.md).
    """

    def __init__(self, message: str, hint: str = "", kind: str = "words") -> None:
        super().__init__(message, hint)
        self.kind = kind


class Bug(HoldfastError):
    """Something that Holdfast holds for impossible has happened."""
