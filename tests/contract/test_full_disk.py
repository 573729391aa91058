"""Disks that take nothing more, with the kernel's own errors: the service goes on, that is said, and made up for."""

import asyncio
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.errors import HoldfastError, WorldError
from holdfast.model.actions import ConfirmLoss, IsolateVnfc
from holdfast.model.events import StandbyLost, VnfcFailed
from holdfast.model.granting import FAST, voter_set
from holdfast.model.names import HA, VIM, HostName, Party, agent_party
from holdfast.model.records import Marked
from holdfast.runtime import processes, voter_file
from holdfast.runtime.folder import RunFolder
from holdfast.runtime.manager_process import make_seats
from holdfast.runtime.outside import ask
from holdfast.store.journal import GAP, Journal, read
from holdfast.store.port import Store
from holdfast.store.sqlite import SqliteStore
from holdfast.wire.link_messages import AskStatus
from tests.contract.fakes import DNS_1, DNS_2, H1, make_folder, small_layout, toy_core, until
from tests.contract.small_disk import SmallDisk, on_small_disk
from tests.contract.test_managers import an_agent, joined, managers, run

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")


def close_all(stores: list[Store], journals: list[Journal]) -> None:
    for store in stores:
        store.close()
    for journal in journals:
        journal.close()


async def status(folder: RunFolder, party: Party = HA) -> dict[str, Any]:
    answer = await asyncio.to_thread(ask, folder, party, AskStatus(), 5.0)
    told: dict[str, Any] = msgspec.json.decode(answer.body)
    return told


def test_while_the_disk_is_full_decisions_go_on_and_what_must_be_recorded_first_waits(tmp_path: Path) -> None:
    """Nothing is acknowledged that is not kept: the active goes without its standby only when that is recorded."""

    async def live(disk: SmallDisk) -> None:
        layout, folder = small_layout(), make_folder(disk.folder, small_layout())
        async with managers(layout, folder) as pump, an_agent(layout, folder) as (_, agent):
            ha = pump.seats[HA]
            await joined(ha)
            await joined(pump.seats[VIM])
            disk.fill()
            agent.emit(VnfcFailed(DNS_1, 1, "killed"))
            await until(lambda: any(isinstance(one, IsolateVnfc) for one in agent.performed), "the isolation")
            # What follows grows until the store's log has no room in its last page either.
            for run in range(2, 40):
                agent.emit(VnfcFailed(DNS_1, run, "killed"))
            await until(lambda: sum(isinstance(one, IsolateVnfc) for one in agent.performed) == 39, "all of them")
            await until(lambda: not ha.is_taken, "the store refuses")
            agent.emit(StandbyLost(DNS_2, 7, 1, DNS_1))
            await until(lambda: "StandbyLost" in ha.state.heard, "it is heard")
            told = await status(folder)
            assert "database or disk is full" in told["alarms"]["store:ha"]
            assert "No space left on device" in told["alarms"]["journal:ha"]
            assert told["statistics"]["journal_lost"] > 0
            assert f"journal:{agent_party(H1)}" in (await status(folder, VIM))["alarms"]
            assert not any(isinstance(one, ConfirmLoss) for one in agent.performed)
            disk.empty()
            await until(lambda: any(isinstance(one, ConfirmLoss) for one in agent.performed), "the confirmation")
            agent.emit(VnfcFailed(DNS_1, 99, "killed"))
            await until(lambda: IsolateVnfc(agent.performed[-1].id, DNS_1, 99) == agent.performed[-1], "the last one")
            assert (await status(folder))["alarms"] == {}
            at_last = ha.state
        seats, stores, journals = make_seats(layout, folder, (HA,), toy_core)
        assert seats[0].state.heard[: len(at_last.heard)] == at_last.heard
        assert seats[0].state.next_id == at_last.next_id
        close_all(stores, journals)
        gaps = [one for one in read(folder.journal(HA)) if isinstance(one, Marked) and one.name == GAP]
        assert len(gaps) == 1
        assert int(gaps[0].detail.split()[0]) > 0

    on_small_disk(tmp_path, lambda disk: run(live(disk)))


def test_managers_start_on_a_full_disk_with_all_that_was_saved(tmp_path: Path) -> None:
    def live(disk: SmallDisk) -> None:
        layout, folder = small_layout(), make_folder(disk.folder, small_layout())
        child = os.fork()
        if child == 0:
            (ha,), *_ = make_seats(layout, folder, (HA,), toy_core)
            for number in range(5):
                ha.take(VnfcFailed(DNS_1, number, "killed"))
            os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(child, 0)
        disk.fill()
        (again,), stores, journals = make_seats(layout, folder, (HA,), toy_core)
        assert again.state.heard == ("VnfcFailed",) * 5
        assert again.take(VnfcFailed(DNS_1, 6, "killed"))
        close_all(stores, journals)

    on_small_disk(tmp_path, live)


def limited(bytes_max: int) -> Callable[[], None]:
    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_max, resource.RLIM_INFINITY))

    return limit


SAVES = """
import sys
from pathlib import Path
from holdfast.model.names import HA
from holdfast.store.port import StoreBroken
from holdfast.store.port import Store
from holdfast.store.sqlite import SqliteStore
store, version = SqliteStore(Path(sys.argv[1])), 0
try:
    while version < 1000:
        version = store.save(HA, {"part": bytes(20_000)}, version)
except StoreBroken as broken:
    print(version, broken.message)
"""


def test_a_save_beyond_the_largest_file_is_refused_and_those_before_stand(tmp_path: Path) -> None:
    path = tmp_path / "ha.db"
    done = subprocess.run(
        [sys.executable, "-c", SAVES, str(path)],
        preexec_fn=limited(300_000),
        capture_output=True,
        text=True,
        check=True,
    )
    version, _, message = done.stdout.partition(" ")
    assert "cannot keep a change" in message
    store = SqliteStore(path)
    assert store.load(HA).version == int(version) > 3
    store.close()


def test_a_journal_that_may_not_grow_loses_records_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "ha.jsonl"
    told: list[str] = []
    back: list[int] = []
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    journal = Journal(path, HA)
    journal.when_lost(told.append, lambda: back.append(1))
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        for number in range(20):
            journal.write([Marked(1.0, HA, journal.number(), f"mark{number}", "x" * 100)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (len(told), back, journal.is_losing) == (1, [], True)
    journal.write([Marked(2.0, HA, journal.number(), "again")])
    journal.close()
    assert (back, journal.is_losing) == ([1], False)
    names = [one.name for one in read(path) if isinstance(one, Marked)]
    assert names[-2:] == [GAP, "again"]
    assert len(names) == 22 - journal.lost


def test_where_nothing_can_be_written_a_manager_says_so_and_ends_with_status_1(tmp_path: Path) -> None:
    def live(disk: SmallDisk) -> None:
        make_folder(disk.folder, small_layout())
        (disk.folder / "seen").mkdir()
        disk.bind_read_only(disk.folder / "seen")
        folder = RunFolder(disk.folder / "seen")
        done = subprocess.run(
            [sys.executable, "-m", "holdfast.runtime.manager_process", "--folder", str(folder.root)],
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        assert done.returncode == 1, done.stderr
        assert "Traceback" not in done.stderr
        assert "read-only file system" in done.stderr.lower()
        agent = subprocess.run(
            [sys.executable, "-m", "holdfast.runtime.agent_process", "--folder", str(folder.root), "--host", str(H1)],
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        assert agent.returncode == 1, agent.stderr
        assert "Traceback" not in agent.stderr
        assert "read-only file system" in agent.stderr.lower()

    on_small_disk(tmp_path, live)


def test_a_voter_set_that_finds_no_room_is_refused_and_the_former_one_stands(tmp_path: Path) -> None:
    first = voter_set((HostName("a"), HostName("b")), FAST)
    second = voter_set((HostName("a"), HostName("b"), HostName("c")), FAST, after=first)

    def live(disk: SmallDisk) -> None:
        path = disk.folder / "a.voters"
        voter_file.keep(path, first)
        disk.fill()
        with pytest.raises(WorldError, match="No space left on device"):
            voter_file.keep(path, second)
        assert voter_file.read(path) == first
        disk.empty()
        voter_file.keep(path, second)
        assert voter_file.read(path) == second

    on_small_disk(tmp_path, live)


def test_the_supervisor_starts_again_what_ends_while_the_disk_is_full(tmp_path: Path) -> None:
    def live(disk: SmallDisk) -> None:
        folder = make_folder(disk.folder, small_layout())
        module = [sys.executable, "-m", "holdfast.runtime.supervisor"]
        log = (disk.folder / "supervisor.log").open("ab")
        with subprocess.Popen([*module, "--folder", str(folder.root), "--agents", "none"], stderr=log) as supervisor:
            try:
                run(killed_while_full(disk, folder))
                assert supervisor.poll() is None
            finally:
                supervisor.terminate()
                supervisor.wait(20)

    on_small_disk(tmp_path, live)


async def killed_while_full(disk: SmallDisk, folder: RunFolder) -> None:
    await until(lambda: pid_of_managers(folder), "the managers answer")
    first = pid_of_managers(folder)
    disk.fill()
    os.kill(first, signal.SIGKILL)
    await until(lambda: pid_of_managers(folder) not in {0, first}, "they answer again")
    second = pid_of_managers(folder)
    assert "cannot keep a change" in (await status(folder))["alarms"]["store:ha"]
    disk.empty()
    await until(lambda: second in {one.pid for one in processes.read_lists(folder).values()}, "they are listed")


def pid_of_managers(folder: RunFolder) -> int:
    """0 while they do not answer."""
    try:
        return int(msgspec.json.decode(ask(folder, HA, AskStatus(), 1.0).body)["pid"])
    except (OSError, HoldfastError):
        return 0
