"""Candidates for the leadership of the managers, in etcd.

    <folder>/leader    the record of `store/leadership.py`, renewed by its holder
    <folder>/term      its term, changed only with it: what the leader's writes compare with

In:   etcd's answers and what it tells of the record.
Out:  claims, renewals and resignations; word of each change of our standing.
Always: decides nothing itself; `Campaign.holds` is true only while nobody else can lead.
"""

import asyncio
from collections.abc import Callable
from contextlib import aclosing

import msgspec
from msgspec import Struct

from holdfast.errors import HoldfastError, MachineLacks, UserError
from holdfast.model.limits import ETCD_PAUSE_S, LEADER_ASK_S, LEADER_LENGTH_S
from holdfast.model.reading import UNREADABLE
from holdfast.store.etcd_client import EtcdClient
from holdfast.store.etcd_state import Fence, term_key, term_text
from holdfast.store.etcd_words import KeyValue, Range, Txn, get, is_revision, put
from holdfast.store.leadership import Ask, Attempt, LeaderRecord, Leadership
from holdfast.store.port import StoreBroken


class Standing(Struct, frozen=True):
    """Where this candidate stands."""

    term: int = 0
    """The term it holds; 0 if it does not lead."""
    is_lapsed: bool = False
    """It leads, but could not renew in time: it decides nothing until it has, or somebody else leads."""
    leader: LeaderRecord | None = None
    """The newest record it has heard of, whoever's."""

    @property
    def may_decide(self) -> bool:
        return self.term > 0 and not self.is_lapsed


class Campaign:
    """Takes part from `start` to `close`; held by one event loop.

    Args:
        client: the cluster; closed by whoever opened it.
        leadership: the deciding part.
        changed: told of each change of term or lapse, at once.
        troubled: told why etcd cannot be asked when that begins, and nothing when it is over.
    """

    def __init__(
        self,
        client: EtcdClient,
        leadership: Leadership,
        changed: Callable[[Standing], None],
        troubled: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._client = client
        self._loop = asyncio.get_running_loop()
        self._leadership = leadership
        self._changed = changed
        self._troubled = troubled
        self._key = f"{client.target.folder}/leader".encode()
        self._term_key = term_key(client.target.folder)
        self._news = asyncio.Event()
        self._gave_way = asyncio.Event()
        self._won = asyncio.Event()
        self._trying: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._asking: asyncio.Task[None] | None = None
        self._watched = client.nearest
        """The member that tells us of changes."""
        self._lapse_clock: asyncio.TimerHandle | None = None
        self.standing = Standing()
        self.problem = ""
        """Why etcd cannot be asked, empty while it can."""

    async def start(self) -> None:
        """Begin to take part.

        Raises:
            UserError: etcd does not believe us, or what is there is no etcd.
            MachineLacks: etcd is too old.
        """
        try:
            await self._read()
        except (UserError, MachineLacks):
            raise
        except HoldfastError as error:
            self._note(error.message)
        self._trying = self._loop.create_task(self._try_on(), name="leadership")
        self._watch_anew()

    def holds(self) -> bool:
        """Whether this process may decide and send at this moment."""
        return self._leadership.holds(self._loop.time())

    def fence(self) -> Fence:
        """For the writes of the term that is held."""
        return Fence(self._term_key, self._leadership.term)

    async def won(self) -> int:
        """Wait until this candidate leads; answer the term."""
        await self._won.wait()
        return self.standing.term

    def raise_term(self, at_least: int) -> None:
        """An agent has heard of a newer term than the store knows: lead under one that is newer still."""
        self._leadership.raise_term(at_least)
        self._news.set()

    @property
    def left_over(self) -> tuple[str, ...]:
        """Hosts whose agents the last one to resign did not reach."""
        return self._leadership.left_over

    async def resign(self, limit_s: float = LEADER_LENGTH_S, unreached: tuple[str, ...] = ()) -> bool:
        """Stop deciding at once and let somebody else begin; false if the store could not be told in time."""
        self._gave_way.clear()
        self._leadership.resign(unreached)
        self._look()
        self._news.set()
        if not self._leadership.term:
            return True
        try:
            async with asyncio.timeout(limit_s):
                await self._gave_way.wait()
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Take part no longer, without a word: the leadership runs out. `resign` first to spare the others the wait."""
        tasks = [task for task in (self._trying, self._watching, self._asking) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._lapse_clock is not None:
            self._lapse_clock.cancel()

    async def _try_on(self) -> None:
        while True:
            wish = self._leadership.wish(self._loop.time())
            if isinstance(wish, Attempt):
                await self._attempt(wish)
                continue
            if isinstance(wish, Ask):
                if self._asking is not None:
                    self._asking.cancel()  # Of an older renewal; its answer would be no news any more.
                self._asking = self._loop.create_task(self._ask(), name="leadership question")
                continue
            try:
                async with asyncio.timeout(None if wish.until is None else max(0.0, wish.until - self._loop.time())):
                    await self._news.wait()
            except TimeoutError:
                continue
            self._news.clear()

    async def _attempt(self, attempt: Attempt) -> None:
        success = [put(self._key, msgspec.json.encode(attempt.record))]
        if attempt.is_claim:
            success.append(put(self._term_key, term_text(attempt.record.term)))
        txn = Txn((is_revision(self._key, attempt.revision),), tuple(success), (get(self._key),))
        try:
            done = await self._client.txn(txn, LEADER_LENGTH_S * 2 / 3)
            pair = KeyValue() if done.succeeded else done.responses[0].response_range.first()
            record = _record_in(pair)
        except HoldfastError as error:
            self._note(error.message)
            self._leadership.failed(attempt, self._loop.time())
            await asyncio.sleep(ETCD_PAUSE_S)
            return
        self._note("")
        now = self._loop.time()
        if done.succeeded:
            self._leadership.done(attempt, done.header.revision, now)
        else:
            self._leadership.refused(attempt, record, pair.mod_revision, now)
            # Our watch should have told us before: perhaps its member is frozen.
            self._watch_anew()
        self._look()

    async def _ask(self) -> None:
        """Whether the store has more than our watch has told; a claim finds a member that answers, then."""
        try:
            await self._read(LEADER_ASK_S)
        except HoldfastError as error:
            self._note(error.message)
            return
        if self._client.nearest != self._watched:
            self._watch_anew()

    async def _read(self, limit_s: float | None = None) -> int:
        """Hear what stands in the store now; answer its revision."""
        found = await self._client.range(Range(self._key), limit_s)
        self._note("")
        self._heard(found.first())
        return found.header.revision

    async def _watch_on(self) -> None:
        while True:
            try:
                revision = await self._read()
            except HoldfastError as error:
                self._note(error.message)
                await asyncio.sleep(ETCD_PAUSE_S)
                continue
            self._watched = self._client.nearest
            try:
                async with aclosing(self._client.watch(Range(self._key), revision + 1)) as told:
                    async for watched in told:
                        for change in watched.events:
                            self._heard(change.kv)
            except HoldfastError as error:
                self.problem = error.message  # Of one member; the next one may be well.
            await asyncio.sleep(ETCD_PAUSE_S)

    def _watch_anew(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
        self._watching = self._loop.create_task(self._watch_on(), name="leadership watch")

    def _note(self, problem: str) -> None:
        before, self.problem = self.problem, problem
        if bool(before) != bool(problem):
            self._troubled(problem)

    def _heard(self, pair: KeyValue) -> None:
        self._leadership.heard(_record_in(pair), pair.mod_revision, self._loop.time())
        self._news.set()
        self._look()

    def _look(self) -> None:
        """Tell of our standing if it has changed, and look again when it will change by itself."""
        term = self._leadership.term
        seen = self._leadership.seen
        standing = Standing(term, term > 0 and not self.holds(), seen.record if seen else None)
        before, self.standing = self.standing, standing
        if self._lapse_clock is not None:
            self._lapse_clock.cancel()
        ends_at = self._leadership.ends_at
        if ends_at is not None and standing.may_decide:
            left = max(0.0, ends_at - self._loop.time())
            self._lapse_clock = self._loop.call_later(left, self._look)
        if standing.may_decide:
            self._won.set()
        else:
            self._won.clear()
        if not term:
            self._gave_way.set()
        if (before.term, before.is_lapsed) != (term, standing.is_lapsed):
            self._changed(standing)


def _record_in(pair: KeyValue) -> LeaderRecord | None:
    if not pair.version:
        return None
    try:
        return msgspec.json.decode(pair.value, type=LeaderRecord)
    except UNREADABLE as error:
        raise StoreBroken(f"etcd key {pair.key.decode(errors='replace')} is no leader's record: {error}") from error
