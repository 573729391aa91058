"""The store of several hosts: the state of the parties in a cluster of etcd.

`EtcdState` is for processes with an event loop, `EtcdStore` keeps the contract of `store/port.py` for those
without. Who returns from a save has its change on the disks of a majority of the members. A save that could not
be confirmed within its limit (`StoreBroken`) may still have been, or yet be, carried out. Repeating it as it was
is harmless; whoever saves something else instead is told `Superseded` if it was, and loads anew.
"""

import asyncio
import itertools
import secrets
from collections.abc import Coroutine, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, TypeVar

from holdfast.model.limits import ETCD_LIMIT_S, ETCD_PIECES
from holdfast.model.names import Party
from holdfast.store.etcd_client import EtcdClient
from holdfast.store.etcd_http import Dial, dialled
from holdfast.store.etcd_state import Fence, Write, check_saved, party_range, save_txn, saved_in
from holdfast.store.etcd_target import Target
from holdfast.store.port import Saved, StoreBroken, Waiting

Result = TypeVar("Result")


class EtcdState:
    """Loads and saves in one deployment's folder.

    Args:
        client: the cluster; closed by whoever opened it.
        fence: the leader's term; without it nothing but the version of a party is compared.
        writer: tells this writer from all others; random if empty.
    """

    def __init__(self, client: EtcdClient, fence: Fence | None = None, writer: str = "") -> None:
        self._client = client
        self._fence = fence
        self._writer = writer or secrets.token_hex(8)
        self._turns = itertools.count(1)
        self._unsure: tuple[Sequence[Write], bytes] | None = None

    async def load(self, party: Party) -> Saved:
        folder = self._client.target.folder
        return saved_in(folder, party, await self._client.range(party_range(folder, party)))

    async def save(self, writes: Sequence[Write], limit_s: float | None = None) -> None:
        """Do all of the writes (at most one a party) or none.

        Raises:
            Superseded: another writer, or another leader.
            StoreBroken: not confirmed in time. To be repeated exactly as it was.
            UserError: etcd does not believe us, or forbids it.
        """
        mark = self._mark_for(writes)
        txn = save_txn(self._client.target.folder, writes, mark, self._fence)
        try:
            done = await self._client.txn(txn, limit_s)
        except StoreBroken:
            self._unsure = (writes, mark)
            raise
        self._unsure = None
        check_saved(writes, mark, self._fence, done, f"etcd {self._client.target}")

    def _mark_for(self, writes: Sequence[Write]) -> bytes:
        """A repetition has the mark of the first try, by which it is recognised."""
        if self._unsure is not None and list(self._unsure[0]) == list(writes):
            return self._unsure[1]
        return f"{self._writer} {next(self._turns)}".encode()


class Runner(Protocol):
    """An event loop that runs while something is to be done in it."""

    def run(self, coro: Coroutine[Any, Any, Result], /) -> Result: ...

    def close(self) -> None: ...


class EtcdStore:
    """`Store` on etcd, for a thread that runs no event loop.

    Args:
        target: the cluster and folder.
        limit_s: how long a load or save may take.
        dial: how members are connected to.
        runner: where it waits.
    """

    pieces = ETCD_PIECES

    def __init__(
        self,
        target: Target,
        limit_s: float = ETCD_LIMIT_S,
        dial: Dial = dialled,
        runner: Runner | None = None,
    ) -> None:
        self._client = EtcdClient(target, limit_s, dial)
        self._state = EtcdState(self._client)
        self._runner: Runner = runner if runner is not None else asyncio.Runner()

    def load(self, party: Party) -> Saved:
        return self._runner.run(self._state.load(party))

    def save(self, party: Party, changes: Mapping[str, bytes | None], expected: int) -> int:
        self._runner.run(self._state.save([Write(party, changes, expected)]))
        return expected + 1

    def is_kept(self, party: Party, version: int) -> bool:
        return True

    @property
    def waiting(self) -> Waiting:
        """Nothing: a save waits for the disk."""
        return Waiting()

    def tidy(self) -> None:
        """Nothing: compaction is set at the members, which others may share (docs/etcd.md)."""

    def close(self) -> None:
        self._runner.run(self._client.close())
        self._runner.close()

    def __enter__(self) -> "EtcdStore":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
