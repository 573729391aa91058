"""What has been measured of the managers' growth so far: a row for each size, kept as soon as it is there.

In:   sizes. Out: the documented JSON (docs/performance.md), the table, and whether what was promised is reached.
Always: a size that a file already has is not measured again.
"""

from pathlib import Path
from typing import Any

import msgspec

from holdfast.lab.bench import kept
from holdfast.lab.bench.scale import Size
from holdfast.lab.bench.table import number
from holdfast.lab.report.summary import this_machine

FORMAT = 1
PROMISED_VNFS, PROMISED_HOSTS = 1000, 50
DECISIONS_CPU_MS = 100.0
"""Everything that the managers do until the services of one lost host are back."""
MEMORY_MB = 150.0
HEAD = (
    "VNFs", "hosts", "start: CPU s", "one component killed: CPU ms", "one host lost: moved", "CPU ms", "instructions",
    "saves", "kB written", "repair CPU ms", "ten lost at once: moved", "CPU ms", "repair CPU ms", "memory MB",
    "status kB", "wrong", "reached",
)  # fmt: skip


class ScaleResults:
    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.machine: dict[str, Any] = this_machine()
        self.sizes: list[Size] = []
        if path is not None and path.is_file():
            self.sizes, self.machine = kept.read(path, FORMAT, _sizes)

    def has(self, vnfs: int, hosts: int) -> bool:
        return any((one.vnfs, one.hosts) == (vnfs, hosts) for one in self.sizes)

    def add(self, size: Size) -> None:
        self.sizes = sorted([*self.sizes, size], key=lambda one: (one.hosts, one.vnfs))
        if self._path is not None:
            kept.write(self._path, self.document())

    def document(self) -> dict[str, Any]:
        rows = [{**msgspec.to_builtins(size), "reached": is_reached(size)} for size in self.sizes]
        return {"format": FORMAT, "machine": self.machine, "rows": rows}


def _sizes(found: dict[str, Any]) -> tuple[list[Size], dict[str, Any]]:
    sizes = [msgspec.convert({**row, "reached": None}, Size, strict=True) for row in found["rows"]]
    return sizes, found["machine"]


def is_reached(size: Size) -> bool | None:
    """Nothing wrong at any size; time and memory where they are promised. None where nothing can be told."""
    if size.wrong:
        return False
    if size.vnfs > PROMISED_VNFS or size.hosts < PROMISED_HOSTS:
        return None
    return size.one.recover.cpu_ms < DECISIONS_CPU_MS and size.peak_mb < MEMORY_MB


def markdown(results: ScaleResults) -> str:
    lines = ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    lines += ["| " + " | ".join(_cells(size)) + " |" for size in results.sizes]
    wrong = [f"- {size.vnfs} VNFs, {size.hosts} hosts: {one}" for size in results.sizes for one in size.wrong]
    return "\n".join([*lines, *(["", "Wrong:", "", *wrong] if wrong else [])]) + "\n"


def _cells(size: Size) -> list[str]:
    one, storm = size.one, size.storm
    reached = {True: "yes", False: "**no**", None: ""}[is_reached(size)]
    return [
        str(size.vnfs),
        str(size.hosts),
        number(size.start.cpu_ms / 1000),
        number(size.killed.cpu_ms / size.kills),
        str(one.moved),
        number(one.recover.cpu_ms),
        str(one.recover.instructions),
        str(one.recover.saves),
        number(one.recover.written_bytes / 1000),
        number(one.repair.cpu_ms),
        str(storm.moved),
        number(storm.recover.cpu_ms),
        number(storm.repair.cpu_ms),
        number(size.peak_mb),
        number(size.status_bytes / 1000),
        str(len(size.wrong)),
        reached,
    ]
