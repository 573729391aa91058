"""The judge: do two hosts ever answer for one service, does an epoch come back? It knows no rules, only kernels."""

from holdfast.model.names import HostName, ServiceName


class Judge:
    def __init__(self) -> None:
        self.wrong: list[str] = []
        self.changes = 0
        """How often a service was answered by another host than before."""
        self._answered: dict[ServiceName, dict[HostName, int]] = {}
        """Per service and host: until when it answers, if nothing is done to it."""
        self._last: dict[ServiceName, HostName] = {}
        self.epochs: dict[ServiceName, int] = {}
        """Highest epoch under which a service was ever answered."""

    def see(self, host: HostName, answered: dict[ServiceName, int], until_ns: int, true_ns: int) -> None:
        """What a host's kernel answers from now on, until it is changed or ends."""
        for service, by in self._answered.items():
            if service not in answered:
                by.pop(host, None)
        for service, epoch in answered.items():
            by = self._answered.setdefault(service, {})
            others = [other for other, until in by.items() if other != host and until > true_ns]
            if others:
                self.wrong.append(f"{true_ns / 1e6:.2f} ms: {service} is answered by {host} and {', '.join(others)}")
            highest = self.epochs.get(service, 0)
            if epoch < highest:
                when = f"{true_ns / 1e6:.2f} ms"
                self.wrong.append(f"{when}: {service} is answered by {host} under epoch {epoch} after {highest}")
            self.epochs[service] = max(highest, epoch)
            by[host] = until_ns
            if self._last.get(service, host) != host:
                self.changes += 1
            self._last[service] = host
