"""Requests to a cluster of etcd, whichever of its members can answer.

In:   requests in etcd's words, each with a time limit.
Out:  answers; changes of keys as they happen.
Always: a request is tried at one member after the other until its limit is over, so the caller must be able to
bear that it was carried out twice or not at all: transactions compare first. What no other member and no waiting
would change (password, certificate, right, age of the server) is said at once.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from types import TracebackType
from typing import TypeVar

import msgspec

from holdfast.errors import HoldfastError, MachineLacks, UserError
from holdfast.model.limits import ETCD_IDLE_CONNECTIONS_MAX, ETCD_LIMIT_S, ETCD_PAUSE_S, ETCD_TRY_GROWTH, ETCD_TRY_S
from holdfast.model.reading import UNREADABLE
from holdfast.store.etcd_http import Dial, Line, LineBroken, NotBelieved, dialled
from holdfast.store.etcd_target import Endpoint, Target
from holdfast.store.etcd_words import (
    Authenticated,
    Failed,
    Found,
    Header,
    Range,
    Status,
    Txn,
    TxnDone,
    Watched,
    WatchLine,
    decode,
    encode,
)
from holdfast.store.port import StoreBroken

Answer = TypeVar("Answer", Found, TxnDone, Authenticated, Status)
OLDEST = (3, 4)
"""Older servers speak another dialect of the gateway."""
_INVALID, _FORBIDDEN, _EXHAUSTED, _UNAUTHENTICATED = 3, 7, 8, 16
_LARGER = "start the members with a larger --max-request-bytes"
_HINTS = {
    "space exceeded": "etcdctl compact, defrag, then alarm disarm; set --auto-compaction-retention",
    "request is too large": _LARGER,
    "larger than max": _LARGER,
}
_RENEW = ("invalid auth token", "revision of auth store is old", "user name is empty")


class _TokenOld(StoreBroken):
    """The cluster no longer knows our token: it ran out, or the member has restarted."""


class Refused(StoreBroken):
    """Etcd will not do this, whichever member is asked."""


class EtcdClient:
    """A cluster, held by one event loop.

    Args:
        target: the cluster.
        limit_s: how long a request may take if it does not say otherwise.
        dial: how members are connected to.
        try_s: how long one member may take before the next one is asked.
    """

    def __init__(
        self, target: Target, limit_s: float = ETCD_LIMIT_S, dial: Dial = dialled, try_s: float = ETCD_TRY_S
    ) -> None:
        self.target = target
        self.limit_s = limit_s
        self._try_s = try_s
        self._dial = dial
        self._tls = target.tls_context()
        self._order = list(target.endpoints)
        """Whoever answered last comes first."""
        self._idle: dict[Endpoint, list[Line]] = defaultdict(list)
        self._checked: set[Endpoint] = set()
        self._cluster = 0
        self._token = ""

    @property
    def nearest(self) -> Endpoint:
        """The member that is asked first: the one that answered last."""
        return self._order[0]

    async def range(self, wanted: Range, limit_s: float | None = None) -> Found:
        return await self._call("/v3/kv/range", encode(wanted), Found, limit_s)

    async def txn(self, txn: Txn, limit_s: float | None = None) -> TxnDone:
        return await self._call("/v3/kv/txn", encode(txn), TxnDone, limit_s)

    async def status(self, endpoint: Endpoint, limit_s: float = 2 * ETCD_TRY_S) -> Status:
        """What one member says of itself."""
        try:
            async with asyncio.timeout(limit_s):
                return await self._believed(endpoint, "/v3/maintenance/status", b"{}", Status)
        except TimeoutError as error:
            raise LineBroken(f"etcd member {endpoint} did not answer within {limit_s:g} s") from error

    async def watch(self, wanted: Range, from_revision: int) -> AsyncGenerator[Watched, None]:
        """Yield what changes from a revision on; the first item says that the watch stands.

        Ends with an error when the member breaks off or loses its leader; the caller reads anew and watches again.

        Raises:
            LineBroken: the member, or its view of the cluster, is gone. The next call goes to the next member.
        """
        request = {"create_request": {**msgspec.to_builtins(wanted), "start_revision": from_revision}}
        endpoint = self._order[0]
        line: Line | None = None
        try:
            async with asyncio.timeout(2 * self._try_s):
                await self._ready(endpoint)
                line = await self._take_line(endpoint)
            async with aclosing(line.stream("/v3/watch", encode(request), self._token)) as lines:
                async for text in lines:
                    if text.strip():
                        yield self._watched(text, endpoint)
            raise LineBroken(f"etcd member {endpoint} ended the watch")
        except TimeoutError as error:
            self._blame(endpoint)
            raise LineBroken(f"etcd member {endpoint} did not answer") from error
        except HoldfastError:
            self._blame(endpoint)
            raise
        finally:
            if line is not None:
                line.close()

    def _watched(self, text: bytes, endpoint: Endpoint) -> Watched:
        try:
            told = decode(text, WatchLine)
        except UNREADABLE as error:
            raise LineBroken(f"etcd member {endpoint} says {text[:80]!r}") from error
        if told.error is not None or told.result is None:
            message = told.error if isinstance(told.error, str) else told.error.message if told.error else "no words"
            if any(words in message for words in _RENEW):
                self._token = ""
            raise LineBroken(f"etcd member {endpoint} ended the watch: {message}")
        if told.result.canceled:
            if any(words in told.result.cancel_reason for words in ("permission denied", *_RENEW)):
                self._token = ""
            raise LineBroken(f"etcd member {endpoint} ended the watch: {told.result.cancel_reason or 'compacted'}")
        return told.result

    async def _call(self, path: str, body: bytes, kind: type[Answer], limit_s: float | None) -> Answer:
        """Try the members in turn until one answers or the limit is over."""
        limit_s = self.limit_s if limit_s is None else limit_s
        end = asyncio.get_running_loop().time() + limit_s
        patience = self._try_s
        problems: dict[Endpoint, HoldfastError] = {}
        while True:
            for endpoint in tuple(self._order):
                left = end - asyncio.get_running_loop().time()
                if left <= 0:
                    raise self._given_up(problems, limit_s)
                try:
                    async with asyncio.timeout(min(patience, left)):
                        answer = await self._believed(endpoint, path, body, kind)
                except TimeoutError:
                    problems[endpoint] = LineBroken(f"etcd member {endpoint} did not answer in time")
                    self._blame(endpoint)
                except Refused:
                    raise
                except (LineBroken, NotBelieved, StoreBroken) as error:
                    problems[endpoint] = error
                    self._blame(endpoint)
                else:
                    return answer
            if all(isinstance(problem, NotBelieved) for problem in problems.values()):
                raise self._given_up(problems, limit_s)
            patience *= ETCD_TRY_GROWTH
            await asyncio.sleep(max(0.0, min(ETCD_PAUSE_S, end - asyncio.get_running_loop().time())))

    def _given_up(self, problems: dict[Endpoint, HoldfastError], limit_s: float) -> HoldfastError:
        told = "; ".join(problem.message for problem in problems.values())
        if problems and all(isinstance(problem, NotBelieved) for problem in problems.values()):
            return UserError(told, "compare ca, cert and key in the address of the store with those of the members")
        return StoreBroken(f"etcd has not answered within {limit_s:g} s: {told}", "do most of its members run?")

    async def _believed(self, endpoint: Endpoint, path: str, body: bytes, kind: type[Answer]) -> Answer:
        """Ask one member, with a fresh token if the one we have is no longer good."""
        await self._ready(endpoint)
        try:
            answer = await self._ask(endpoint, path, body, kind)
        except _TokenOld:
            self._token = ""
            await self._ready(endpoint)
            answer = await self._ask(endpoint, path, body, kind)
        self._check_cluster(answer.header, endpoint)
        if self._order[0] != endpoint:
            self._order.remove(endpoint)
            self._order.insert(0, endpoint)
        return answer

    async def _ready(self, endpoint: Endpoint) -> None:
        if endpoint not in self._checked:
            await self._check_age(endpoint)
            self._checked.add(endpoint)
        if self.target.user and not self._token:
            who = {"name": self.target.user, "password": self.target.password()}
            self._token = (await self._ask(endpoint, "/v3/auth/authenticate", encode(who), Authenticated)).token

    async def _check_age(self, endpoint: Endpoint) -> None:
        try:
            status, content = await self._on_line(endpoint, lambda line: line.ask("/version", None, ""))
        except LineBroken as error:
            if isinstance(error.__cause__, EOFError) and self._tls is None:
                # This is how a member answers on a port that is for TLS.
                words = "closes the connection without a word: if it wants TLS, write etcds:// instead of etcd://"
                raise NotBelieved(f"etcd member {endpoint} {words}") from error
            raise
        try:
            version = str(msgspec.json.decode(content)["etcdserver"])
            age = tuple(int(part) for part in version.split(".")[:2])
        except (*UNREADABLE, KeyError, TypeError, ValueError) as error:
            words = content[:80].decode(errors="replace").strip()
            raise UserError(f"what listens at {endpoint} is no etcd: it answers {status} {words!r}") from error
        if age < OLDEST:
            wanted = ".".join(map(str, OLDEST))
            raise MachineLacks(f"etcd member {endpoint} is version {version}", f"at least {wanted} is needed")

    def _check_cluster(self, header: Header, endpoint: Endpoint) -> None:
        self._cluster = self._cluster or header.cluster_id
        if header.cluster_id != self._cluster:
            raise UserError(
                f"etcd member {endpoint} is of cluster {header.cluster_id:x}, others were of {self._cluster:x}",
                "name members of one cluster only; if the cluster was restored, start this process again",
            )

    async def _ask(self, endpoint: Endpoint, path: str, body: bytes, kind: type[Answer]) -> Answer:
        status, content = await self._on_line(endpoint, lambda line: line.ask(path, body, self._token))
        try:
            if status == 200:
                return decode(content, kind)
            failed = decode(content, Failed)
        except UNREADABLE as error:
            words = content[:80].decode(errors="replace")
            raise LineBroken(f"etcd member {endpoint} answers {status} {words!r}") from error
        raise self._refusal(failed, endpoint)

    def _refusal(self, failed: Failed, endpoint: Endpoint) -> HoldfastError:
        what = failed.error.removeprefix("etcdserver: ")
        is_unknown = failed.code == _UNAUTHENTICATED or any(words in what for words in _RENEW)
        if is_unknown and self.target.user:
            return _TokenOld(what)
        if is_unknown or (failed.code == _FORBIDDEN and not self.target.user):
            return UserError(f"etcd at {endpoint} wants authentication", "add USER@ and password-file to the address")
        if "authentication failed" in what:
            return UserError(f"etcd does not believe user {self.target.user!r}: {what}", "compare user and password")
        if "authentication is not enabled" in what:
            return UserError(
                f"etcd has no authentication, but user {self.target.user!r} is given", "etcdctl auth enable"
            )
        if failed.code == _FORBIDDEN:
            hint = f"grant its role readwrite on the prefix {self.target.folder}/"
            return UserError(f"etcd forbids this to user {self.target.user!r}: {what}", hint)
        if failed.code in {_INVALID, _EXHAUSTED}:
            hints = [hint for words, hint in _HINTS.items() if words in what]
            return Refused(f"etcd refuses: {what}", *hints[:1])
        return StoreBroken(f"etcd member {endpoint}: {what or 'error without words'}")

    async def _on_line(
        self, endpoint: Endpoint, act: Callable[[Line], Awaitable[tuple[int, bytes]]]
    ) -> tuple[int, bytes]:
        line = await self._take_line(endpoint)
        try:
            answer = await act(line)
        except BaseException:
            line.close()
            raise
        if line.is_usable and len(self._idle[endpoint]) < ETCD_IDLE_CONNECTIONS_MAX:
            self._idle[endpoint].append(line)
        else:
            line.close()
        return answer

    async def _take_line(self, endpoint: Endpoint) -> Line:
        while self._idle[endpoint]:
            line = self._idle[endpoint].pop()
            if line.is_usable:
                return line
            line.close()
        return await Line.open(endpoint, self._tls, self._dial)

    def _blame(self, endpoint: Endpoint) -> None:
        """Ask this one last, and over a new connection."""
        self._checked.discard(endpoint)
        if endpoint in self._order:
            self._order.remove(endpoint)
            self._order.append(endpoint)
        for line in self._idle.pop(endpoint, ()):
            line.close()

    async def __aenter__(self) -> "EtcdClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        for lines in self._idle.values():
            for line in lines:
                line.close()
        self._idle.clear()
        await asyncio.sleep(0)  # So that the transports can tell that they are gone.
