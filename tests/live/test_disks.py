"""For real: the disk under a deployment is full, its store is damaged, one byte of its journal changes."""

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.live.test_up_down import (
    DNS,
    holdfast,
    in_nest,
    kill_active,
    listed,
    nothing_is_left,
    question,
    service,
    until,
)

pytestmark = pytest.mark.namespaces
RUN = Path("/run/holdfast")


def alarms() -> dict[str, str]:
    shown: dict[str, Any] = json.loads(holdfast("status", "--json"))
    found: dict[str, str] = shown["alarms"]
    return found


def fill() -> None:
    with (RUN / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


def test_a_full_disk_stops_neither_service_nor_recovery(tmp_path: Path) -> None:
    def story(folder: Path) -> None:
        RUN.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(RUN)], check=True)
        (folder / "dns.yaml").write_text(DNS)
        holdfast("up", str(folder / "dns.yaml"))
        fill()
        for _ in range(2):
            before = question()
            kill_active()
            until(lambda before=before: question() not in {"", before}, "the other one answers")  # type: ignore[misc]
            until(lambda: not service()["open"], "the failed one is repaired")
        assert any("disk is full" in text or "No space left" in text for text in alarms().values()), alarms()
        first, owner = listed(), question()
        os.kill(first["managers"], signal.SIGKILL)
        until(lambda: listed_now() not in {0, first["managers"]}, "managers start again")
        os.kill(first["agent:this"], signal.SIGKILL)
        until(lambda: service()["state"] == "provided" and not service()["open"], "it is well")
        assert question() == owner, "nothing moved"
        kill_active()
        until(lambda: question() not in {"", owner}, "the other one answers")
        (RUN / "filler").unlink()
        until(lambda: not service()["open"], "the failed one is repaired")
        kill_active()
        until(lambda: not service()["open"] and not alarms(), "nothing is wrong any more")
        assert "records lost" in "".join(path.read_text() for path in (RUN / "dns" / "journal").iterdir())
        holdfast("why")
        holdfast("down")
        subprocess.run(["umount", str(RUN)], check=True)

    in_nest(story, tmp_path)


def listed_now() -> int:
    """The managers' process, asked of itself."""
    shown = json.loads(holdfast("status", "--json"))
    return int(shown["managers"]["ha"].get("pid", 0))


def test_a_damaged_store_interrupts_nothing_and_a_damaged_journal_is_told(tmp_path: Path) -> None:
    def story(folder: Path) -> None:
        (folder / "dns.yaml").write_text(DNS)
        holdfast("up", str(folder / "dns.yaml"))
        kill_active()
        until(lambda: not service()["open"], "the failed one is repaired")
        owner, epoch = question(), service()["epoch"]
        store = RUN / "dns" / "state" / "ha.db"
        damaged = bytes(byte ^ 0x55 for byte in store.read_bytes()[:4096])
        pid = listed()["managers"]
        os.kill(pid, signal.SIGSTOP)
        with store.open("r+b") as file:
            file.write(damaged)
        os.kill(pid, signal.SIGKILL)
        until(lambda: "store-damaged:ha" in alarms(), "the manager is back, and says so")
        until(lambda: service()["state"] == "provided", "it knows of the service")
        assert (question(), service()["epoch"]) == (owner, epoch), "nothing moved"
        assert store.with_name("ha.db.damaged-1").read_bytes()[:4096] == damaged
        kill_active()
        until(lambda: question() not in {"", owner}, "the next failure is recovered")
        until(lambda: not service()["open"], "and repaired")
        assert holdfast("why").count("failed (killed by SIGKILL)") >= 1
        journal = RUN / "dns" / "journal" / "ha.jsonl"
        content = bytearray(journal.read_bytes())
        content[len(content) // 2] ^= 0x01
        journal.write_bytes(content)
        assert "ha.jsonl:" in holdfast("why", expected=1)
        holdfast("down")
        nothing_is_left()

    in_nest(story, tmp_path)
