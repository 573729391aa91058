"""The event loop's connection to a sandbox: commands with limits, capsules, notes, ends."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from holdfast.drivers import sandbox
from holdfast.drivers.process import Keeper, Surroundings
from holdfast.errors import WorldError
from holdfast.runtime.premises import end, over_within, run

pytestmark = pytest.mark.namespaces
LIMIT_S = 5.0


def with_capsule(tmp_path: Path, test: Callable[[Keeper, Surroundings], Awaitable[None]]) -> None:
    async def all_of_it() -> None:
        keeper = await Keeper.start("capsule", tmp_path / "capsule", namespaces=sandbox.CAPSULE, first_pid=3000)
        around = Surroundings({"PATH": os.environ["PATH"]}, tmp_path, tmp_path / "log")
        try:
            async with asyncio.timeout(LIMIT_S):
                await test(keeper, around)
        finally:
            assert await end(keeper, LIMIT_S)
            keeper.close()

    asyncio.run(all_of_it())


def test_a_command_gives_its_status(tmp_path: Path) -> None:
    async def scenario(keeper: Keeper, around: Surroundings) -> None:
        statuses = await asyncio.gather(*(run(keeper, ["sh", "-c", f"exit {n}"], around, 1.0) for n in range(5)))
        assert statuses == [0, 1, 2, 3, 4]

    with_capsule(tmp_path, scenario)


def test_a_command_that_takes_too_long_is_killed_with_its_group(tmp_path: Path) -> None:
    async def scenario(keeper: Keeper, around: Surroundings) -> None:
        with pytest.raises(WorldError, match=r"sh had not ended after 0\.05 s"):
            await run(keeper, ["sh", "-c", "sleep 1000 & wait"], around, 0.05)
        while children := await keeper.children():
            for child in children:
                assert await over_within(child.handle, 1.0)
                child.close()

    with_capsule(tmp_path, scenario)


def test_process_numbers_begin_where_they_were_asked_to(tmp_path: Path) -> None:
    async def scenario(keeper: Keeper, around: Surroundings) -> None:
        child = await keeper.spawn(["sleep", "1000"], around)
        assert child.pid >= 3000
        child.close()

    with_capsule(tmp_path, scenario)


def test_who_connects_next_finds_notes_and_processes_and_hears_of_their_end(tmp_path: Path) -> None:
    async def scenario(keeper: Keeper, around: Surroundings) -> None:
        await keeper.note(run=7)
        (await keeper.spawn(["sleep", "1000"], around, "main")).close()
        later = await Keeper.reach(tmp_path / "capsule")
        assert later is not None
        assert later.notes == {"run": 7}
        (child,) = later.take_found()
        assert child.tag == "main"
        child.handle.kill()
        assert await later.status(child.pid, 1.0) == signal.SIGKILL
        child.close()
        later.close()

    with_capsule(tmp_path, scenario)


def test_a_capsule_in_a_sandbox_ends_without_it(tmp_path: Path) -> None:
    async def scenario(outer: Keeper, around: Surroundings) -> None:
        inner = await outer.enclose("inner", tmp_path / "inner")
        title = Path(f"/proc/{inner.handle.pid}/cmdline").read_bytes()
        assert b'{"name": "inner"' in title
        child = await inner.spawn(["sh", "-c", "setsid sleep 1000 & exec sleep 1000"], around)
        assert await end(inner, LIMIT_S)
        assert child.handle.is_gone
        assert await inner.status(child.pid) is None
        assert await run(outer, ["true"], around, 1.0) == 0
        assert await Keeper.reach(tmp_path / "inner") is None
        child.close()
        inner.close()

    with_capsule(tmp_path, scenario)


def test_one_that_is_frozen_holds_nobody_up(tmp_path: Path) -> None:
    async def scenario(keeper: Keeper, around: Surroundings) -> None:
        signal.pidfd_send_signal(keeper.handle.number, signal.SIGSTOP)
        with pytest.raises(WorldError, match="did not answer within"):
            await keeper.ask({"op": "describe"}, 0.05)

    with_capsule(tmp_path, scenario)


def test_one_that_has_ended_is_said_to_be_gone(tmp_path: Path) -> None:
    async def scenario(keeper: Keeper, around: Surroundings) -> None:
        assert await end(keeper, LIMIT_S)
        with pytest.raises(WorldError, match="is gone"):
            await run(keeper, ["true"], around, 1.0)

    with_capsule(tmp_path, scenario)
