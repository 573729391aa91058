"""Who answered for the address: the file that the owners watcher leaves behind.

In: the file written by `holdfast.lab.owners`. Out: `OwnersRun`, the times of all questions (ARP requests or neighbour
solicitations) and all answers with the MAC address they named. Times are monotonic seconds.
"""

from pathlib import Path
from typing import Literal

import msgspec

FORMAT = 1


class OwnerAnswer(msgspec.Struct, frozen=True, array_like=True):
    at: float
    mac: str
    kind: Literal["answer", "announcement"] = "answer"
    """An announcement (gratuitous ARP, unsolicited NA) was not asked for."""


class OwnersRun(msgspec.Struct):
    address: str
    every_s: float
    began_at: float
    stopped_at: float
    asked_at: list[float]
    answers: list[OwnerAnswer]
    format: int = FORMAT


def save_owners(run: OwnersRun, path: Path) -> None:
    part = path.with_name(path.name + ".part")
    part.write_bytes(msgspec.msgpack.encode(run))
    part.rename(path)


def load_owners(path: Path) -> OwnersRun:
    run = msgspec.msgpack.decode(path.read_bytes(), type=OwnersRun)
    if run.format != FORMAT:
        raise ValueError(f"{path} has format {run.format}, expected {FORMAT}")
    return run
