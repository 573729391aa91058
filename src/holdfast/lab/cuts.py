"""Cuts in the lab's network: some hosts no longer hear others, while the client still hears all of them.

In:   two sides, each a set of addresses at ports of the lab's bridge.
Out:  rules on the ports (nftables, family netdev) that drop what comes from the other side; `heal` takes them away.
Always: a cut hides addresses of hosts and VMs and what is sent from them, never the client's own packets.
"""

from collections.abc import Iterable

from holdfast.drivers.nft import Nft

TABLE = "netdev holdfast_lab"


class Cuts:
    def __init__(self) -> None:
        self._nft = Nft()
        self._chains = 0
        self._is_made = False
        self._hides = False

    def hide_from_us(self, addresses: Iterable[str]) -> None:
        """Let nothing from these addresses in where the managers run (the bridge's own end)."""
        for address in addresses:
            plain = address.partition("/")[0]
            family = "ip6" if ":" in plain else "ip"
            self._nft.run(
                f"add table inet holdfast_lab\n"
                f"add chain inet holdfast_lab input {{ type filter hook input priority -300; policy accept; }}\n"
                f"add rule inet holdfast_lab input {family} saddr {plain} drop"
            )
        self._hides = True

    def cut(self, port: str, hidden: Iterable[str]) -> None:
        """Let nothing from these addresses out at the port: whoever is behind it does not hear them any more."""
        if not self._is_made:
            self._nft.run(f"add table {TABLE}")
            self._is_made = True
        self._chains += 1
        chain = f"cut_{self._chains}"
        commands = [
            f'add chain {TABLE} {chain} {{ type filter hook egress device "{port}" priority 0; policy accept; }}'
        ]
        for address in hidden:
            plain = address.partition("/")[0]
            if ":" in plain:
                commands.append(f"add rule {TABLE} {chain} ip6 saddr {plain} drop")
            else:
                commands.append(f"add rule {TABLE} {chain} ip saddr {plain} drop")
                commands.append(f"add rule {TABLE} {chain} arp saddr ip {plain} drop")
        self._nft.run("\n".join(commands))

    def heal(self) -> None:
        if self._is_made:
            self._nft.run(f"delete table {TABLE}")
            self._is_made = False
        if self._hides:
            self._nft.run("delete table inet holdfast_lab")
            self._hides = False

    def close(self) -> None:
        self._nft.close()
