"""An agent's part in voter set and epochs: what managers say goes to the disk, and on to the hot process.

In:   voter sets and epochs of the managers; what the hot process wants written.
Out:  the voter set on disk, the hot process told; what its voter goes by (`in_use`).
Always: the disk first, and neither this loop nor the hot one waits for it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from itertools import count

from holdfast.errors import HoldfastError, WorldError
from holdfast.model.granting import VoterSet
from holdfast.model.names import ServiceName
from holdfast.runtime import hot_grant_words as words

ANSWER_LIMIT_S = 3.0
"""The hot process answers at once; a voter that has to ask others for something does so within a heartbeat."""
EPOCHS_AT_ONCE = 500
"""More do not fit into one packet."""


class AgentVoters:
    """One life of the agent.

    Args:
        keep: have a voter set on this host's disk, unless a newer one is there (`HotDoor.keep_voters`).
        tell: to the hot process.
        trouble: something that a person has to know.
    """

    def __init__(
        self,
        keep: Callable[[VoterSet], Awaitable[None]],
        tell: Callable[[words.GrantCommand], None],
        trouble: Callable[[str], None],
    ) -> None:
        self._keep, self._tell, self._trouble = keep, tell, trouble
        self._numbers = count(1)
        self._asked: dict[int, asyncio.Future[dict[ServiceName, int]]] = {}
        self._changed = asyncio.Event()
        self._writing: set[asyncio.Task[None]] = set()
        self.in_use: VoterSet | None = None
        """None: not known, because there is no hot process."""

    async def take_epochs(self, epochs: Mapping[ServiceName, int]) -> dict[ServiceName, int]:
        """Have the voter go by them; answer below which number it refuses claims."""
        self._must_be_there()
        floors: dict[ServiceName, int] = {}
        names = tuple(epochs)
        for begin in range(0, len(names) or 1, EPOCHS_AT_ONCE):
            floors |= await self._ask({name: epochs[name] for name in names[begin : begin + EPOCHS_AT_ONCE]})
        return floors

    async def _ask(self, epochs: dict[ServiceName, int]) -> dict[ServiceName, int]:
        number = next(self._numbers)
        answer: asyncio.Future[dict[ServiceName, int]] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        self._tell(words.TakeEpochs(number, epochs))
        try:
            async with asyncio.timeout(ANSWER_LIMIT_S):
                return await answer
        except TimeoutError:
            raise WorldError("the process that holds the grants does not answer") from None
        finally:
            del self._asked[number]

    async def set_voters(self, voters: VoterSet, *, use: bool) -> str:
        """Have it on disk; with `use`, return when the voter goes by it, or by a newer one."""
        self._must_be_there()
        await self._keep(voters)
        self._tell(words.VotersWritten(voters, use))
        if not use:
            return "on disk"
        try:
            async with asyncio.timeout(ANSWER_LIMIT_S):
                while self.in_use is None or self.in_use.version < voters.version:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            version = self.in_use.version if self.in_use is not None else "no"
            raise WorldError(f"the voter goes by version {version} of the voter set, not {voters.version}") from None
        return "on disk, and gone by"

    def _must_be_there(self) -> None:
        if self.in_use is None:
            raise WorldError(
                "the process that holds the grants is gone, or of a version that is told nothing of voters",
                "`holdfast agent --end` on this host, and start the agent again",
            )

    def heard(self, news: words.GrantNews) -> None:
        """What the hot process tells of it."""
        match news:
            case words.Ready(voters=voters) | words.VotersAre(voters=voters):
                self.in_use = voters
                self._changed.set()
            case words.EpochsTaken(number=number, floors=floors):
                answer = self._asked.get(number)
                if answer is not None and not answer.done():
                    answer.set_result(floors)
            case words.WriteVoters(voters=voters):
                task = asyncio.get_running_loop().create_task(self._write(voters), name="write voters")
                self._writing.add(task)
                task.add_done_callback(self._writing.discard)

    async def _write(self, voters: VoterSet) -> None:
        try:
            await self.set_voters(voters, use=False)
        except HoldfastError as error:
            self._trouble(error.message)

    def gone(self) -> None:
        """There is no hot process any more."""
        self.in_use = None

    async def close(self) -> None:
        for task in tuple(self._writing):
            task.cancel()
        await asyncio.gather(*self._writing, return_exceptions=True)
