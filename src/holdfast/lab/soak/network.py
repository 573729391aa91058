"""What goes wrong in the lab's network while hosts come and go: frames between them are cut off, lost or doubled.

In:   pairs of hosts, by name. Out: tables of nftables in this nest, each taken back by its own `Undo`.
Always: a cut goes by the bridge's ports, so it outlasts a host that is switched off and on; clients hear everybody.
"""

from collections.abc import Callable, Iterable, Sequence

from holdfast.drivers.nft import Nft
from holdfast.errors import WorldError
from holdfast.lab.acts import FaultFailed
from holdfast.lab.world import port_of
from holdfast.model.names import HostName

Undo = Callable[[], None]
Way = tuple[HostName, HostName]
"""Sender and receiver."""
COPY_MARK = 77
"""On frames that have been doubled, so that copies are not."""


class Roads:
    def __init__(self) -> None:
        self._nft = Nft()
        self._tables = 0

    def cut(self, ways: Iterable[Way]) -> Undo:
        """Carry nothing on these ways."""
        return self._forward(f'iifname "{port_of(sender)}" oifname "{port_of(to)}" drop' for sender, to in ways)

    def lose(self, ways: Iterable[Way], percent: int) -> Undo:
        """Lose that share of what goes on these ways."""
        return self._forward(
            f'iifname "{port_of(sender)}" oifname "{port_of(to)}" numgen random mod 100 <= {percent - 1} drop'
            for sender, to in ways
        )

    def double(self, hosts: Sequence[HostName], percent: int) -> Undo:
        """Have these hosts get that share of all frames twice, until they are switched off."""
        table = self._new("netdev")
        lines = [f"add table {table}"]
        for number, host in enumerate(hosts):
            port = port_of(host)
            lines += [
                f"add chain {table} port{number} "
                f'{{ type filter hook egress device "{port}" priority 1; policy accept; }}',
                f"add rule {table} port{number} meta mark != {COPY_MARK} numgen random mod 100 <= {percent - 1} "
                f'meta mark set {COPY_MARK} dup to "{port}"',
            ]
        return self._made(table, lines)

    def _forward(self, rules: Iterable[str]) -> Undo:
        table = self._new("bridge")
        chain = f"add chain {table} ways {{ type filter hook forward priority 0; policy accept; }}"
        return self._made(table, [f"add table {table}", chain, *(f"add rule {table} ways {rule}" for rule in rules)])

    def _new(self, family: str) -> str:
        self._tables += 1
        return f"{family} holdfast_soak_{self._tables}"

    def _made(self, table: str, lines: Sequence[str]) -> Undo:
        try:
            self._nft.run("\n".join(lines))
        except WorldError as error:
            raise FaultFailed(error.message) from error
        return lambda: self._nft.run(f"delete table {table}")

    def close(self) -> None:
        self._nft.close()
