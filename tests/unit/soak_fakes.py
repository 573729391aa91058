"""A ground without anything real under it, and a clock that moves when somebody waits."""

from collections.abc import Sequence

from holdfast import descriptor
from holdfast.lab.acts import FaultFailed
from holdfast.lab.drawn import PlannedFault
from holdfast.lab.soak.nemesis import Nemesis
from holdfast.lab.soak.network import Undo, Way
from holdfast.lab.soak.plan import LAYOUT
from holdfast.model.names import HostName, ServiceName, VmName, VnfcName

SOAK = descriptor.load(LAYOUT)
ACTIVE = {"kept": "kept-2", "pool#1": "pool-1", "pool#2": "pool-2", "vault": "vault-1", "single": "single-1"}


class FakeGround:
    """Writes down what is done to it, and when it is taken back."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.did: list[tuple[float, str]] = []
        self.off: set[HostName] = set()
        self.refuses: set[str] = set()
        """Words of deeds that have no effect."""
        self.stays: set[str] = set()
        """Words of deeds that cannot be taken back."""

    def now(self) -> float:
        return round(self.now_s, 6)

    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    def _do(self, *words: str) -> Undo:
        text = " ".join(words)
        if words[0] in self.refuses:
            raise FaultFailed(f"{text} took no effect")
        self.did.append((self.now(), text))

        def undo() -> None:
            if words[0] in self.stays:
                raise FaultFailed(f"{text} stays")
            self.did.append((self.now(), f"no more {text}"))

        return undo

    def is_on(self, host: HostName) -> bool:
        return host not in self.off

    def kill_vnfc(self, name: VnfcName) -> None:
        self._do("kill_vnfc", name)

    def freeze_vnfc(self, name: VnfcName) -> None:
        self._do("freeze_vnfc", name)

    def hang_cleanup(self, name: VnfcName) -> Undo:
        return self._do("hang_cleanup", name)

    def kill_vm(self, name: VmName) -> None:
        self._do("kill_vm", name)

    def freeze_vm(self, name: VmName) -> Undo:
        return self._do("freeze_vm", name)

    def host_off(self, name: HostName) -> Undo:
        return self._do("host_off", name)

    def freeze_host(self, name: HostName) -> Undo:
        return self._do("freeze_host", name)

    def kill_agent(self, name: HostName) -> None:
        self._do("kill_agent", name)

    def freeze_agent(self, name: HostName) -> Undo:
        return self._do("freeze_agent", name)

    def starve_agent(self, name: HostName) -> Undo:
        return self._do("starve_agent", name)

    def kill_hot(self, name: HostName) -> None:
        self._do("kill_hot", name)

    def kill_leader(self) -> None:
        self._do("kill_leader")

    def freeze_leader(self) -> Undo:
        return self._do("freeze_leader")

    def kill_store(self, name: HostName) -> Undo:
        return self._do("kill_store", name)

    def freeze_store(self, names: Sequence[HostName]) -> Undo:
        return self._do("freeze_store", *names)

    def cut(self, ways: Sequence[Way]) -> Undo:
        return self._do("cut", *sorted(">".join(way) for way in ways))

    def lose_messages(self) -> Undo:
        return self._do("lose_messages")

    def double_messages(self) -> Undo:
        return self._do("double_messages")

    def set_fences(self, name: HostName, mode: str) -> Undo:
        return self._do("set_fences", name, mode)


def nemesis_on(ground: FakeGround, told: list[str] | None = None, active: dict[str, str] | None = None) -> Nemesis:
    provides = ACTIVE if active is None else active

    def provider(service: ServiceName) -> VnfcName | None:
        return VnfcName(provides[service]) if service in provides else None

    return Nemesis(SOAK, ground, provider, ground.now, ground.wait, (told if told is not None else []).append)


def fault(kind: str, at_ms: int = 0, place: str = "", lasts_ms: int = 0, other: str = "") -> PlannedFault:
    return PlannedFault(kind, at_ms, place, lasts_ms, other)
