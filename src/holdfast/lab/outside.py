"""Clients of a live world: machines outside of all hosts, on the service network, each with neighbours of its own.

In:   programs to run there.
Out:  the programs' processes; a neighbour entry that was set, read back.
"""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from holdfast.drivers import ports
from holdfast.drivers.netlink import Netlink
from holdfast.drivers.sandbox import Sandbox
from holdfast.errors import WorldError
from holdfast.lab.acts import FaultFailed

INTERFACE = "eth0"
COMMAND_LIMIT_S = 20.0


class Outside:
    """All of them, by name."""

    def __init__(
        self, base: Path, netlink: Netlink, bridge: str, environment: Mapping[str, str], *, bound: bool = False
    ) -> None:
        """
        Args:
            bound: the kernel ends machines and programs with this process. In a nest they end with the nest.
        """
        self._bound = bound
        self._base, self._netlink, self._bridge = base, netlink, bridge
        self._environment = dict(environment)
        self._machines: dict[str, Sandbox] = {}

    def join(self, name: str, addresses: Sequence[str]) -> None:
        """One more machine, with these addresses."""
        machine = Sandbox.start(name, self._base / name, namespaces=("net", "mnt"), bound=self._bound)
        self._machines[name] = machine
        namespace = machine.netns_fd
        try:
            ports.make_port(
                self._netlink, self._bridge, f"lab-{name}"[:15], namespace, inner=INTERFACE, addresses=addresses
            )
        finally:
            os.close(namespace)

    def run(self, name: str, argv: Sequence[str], **options: object) -> "subprocess.Popen[bytes]":
        """Start a program in the machine's network namespace."""
        return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
            [*self._enter(name), *argv], env=self._environment, **options
        )

    def _enter(self, name: str) -> list[str]:
        machine = self._machines.get(name)
        if machine is None:
            raise WorldError(f"there is no client {name} here")
        tie = ["setpriv", "--pdeathsig", "KILL"] if self._bound else []
        return [*tie, "nsenter", f"--net=/proc/{machine.pid}/ns/net", "--"]

    def mislead(self, name: str, address: str, mac: str) -> None:
        """Have the machine take `mac` for the owner of the address, as if it had been told so just now."""
        entry = ["dev", INTERFACE, "lladdr", mac, "nud", "reachable"]
        self._ip(name, "neigh", "replace", address, *entry)
        found = json.loads(self._ip(name, "-json", "neigh", "show", "to", address, "dev", INTERFACE))
        if [one.get("lladdr") for one in found] != [mac]:
            raise FaultFailed(f"{name} was told that {address} is at {mac}, and has {found}")

    def _ip(self, name: str, *words: str) -> str:
        done = subprocess.run(
            [*self._enter(name), "ip", *words],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_LIMIT_S,
            check=False,
        )
        if done.returncode != 0:
            raise FaultFailed(f"ip {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def close(self) -> None:
        for machine in self._machines.values():
            machine.kill()
            machine.wait_gone(5.0)
            machine.close()
