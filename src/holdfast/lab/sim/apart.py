"""A compiled coroutine, with exceptions of its own.

In: a coroutine that mypyc has compiled. Out: one of Python's own that does the same.
Always: this module is not compiled. Python keeps for each of its own coroutines which exception is being handled there.
A compiled one leaves that behind wherever it waits, and the next one to run finds it: a `raise` or `finally` after an
`await` would then raise what another one was handling.
"""

from collections.abc import Coroutine, Generator
from types import coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


@coroutine
def apart(compiled: Coroutine[Any, Any, Result]) -> Generator[Any, Any, Result]:
    """As `await compiled`, which would hand an exception on (a cancellation) without going in here."""
    thrown: BaseException | None = None
    while True:
        try:
            awaited = compiled.send(None) if thrown is None else compiled.throw(thrown)
        except StopIteration as done:
            result: Result = done.value
            return result
        thrown = None
        try:
            yield awaited
        except BaseException as error:  # noqa: BLE001  # whatever it is, it is meant for the compiled one
            thrown = error
