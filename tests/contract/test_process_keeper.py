"""Sandboxes as an agent finds them, live and simulated: commands with limits, capsules, notes, ends."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from holdfast.drivers.pidfd import Pidfd
from holdfast.errors import WorldError
from holdfast.runtime.premises import Handle, Keeper, Premises, end, over_within, run
from tests.contract.places import FORKS_AND_ENDS, FORKS_AND_WAITS, FORKS_AWAY, IGNORES, Here, Place, Simulated

LIMIT_S = 20.0


@pytest.fixture(params=[pytest.param("here", marks=pytest.mark.namespaces), "simulated"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return Here(tmp_path) if request.param == "here" else Simulated(tmp_path)


Scenario = Callable[[Premises, Keeper], Awaitable[None]]


def with_capsule(place: Place, scenario: Scenario) -> None:
    async def all_of_it(premises: Premises) -> None:
        keeper = await premises.start_capsule("capsule", place.folder / "capsule", 3000)
        try:
            await scenario(premises, keeper)
        finally:
            assert await end(keeper, LIMIT_S)
            keeper.close()

    place.play(all_of_it)


def lives(handle: Handle) -> bool:
    return not handle.is_gone and not handle.is_dying


def alone(keeper: Keeper) -> bool:
    return keeper.is_alone


def test_a_command_gives_its_status(place: Place) -> None:
    async def scenario(_premises: Premises, keeper: Keeper) -> None:
        commands = (run(keeper, ["sh", "-c", f"exit {n}"], place.around, LIMIT_S) for n in range(5))
        assert await asyncio.gather(*commands) == [0, 1, 2, 3, 4]

    with_capsule(place, scenario)


def test_a_command_that_takes_too_long_is_killed_with_its_group(place: Place) -> None:
    async def scenario(_premises: Premises, keeper: Keeper) -> None:
        with pytest.raises(WorldError, match=r"sh had not ended after 0\.05 s"):
            await run(keeper, ["sh", "-c", FORKS_AND_WAITS], place.around, 0.05)
        while children := await keeper.children():
            for child in children:
                assert await over_within(child.handle, LIMIT_S)
                child.close()

    with_capsule(place, scenario)


@pytest.mark.parametrize(
    ("argv", "cwd", "said"),
    [
        (["no-such-program"], "", "no-such-program: No such file or directory"),
        (["true"], "missing", "missing: No such file or directory"),
        ([], "", "no command"),
    ],
)
def test_a_program_that_cannot_be_started_says_why(place: Place, argv: list[str], cwd: str, said: str) -> None:
    around = place.around.__class__(place.around.env, place.folder / cwd, place.around.log)

    async def scenario(_premises: Premises, keeper: Keeper) -> None:
        with pytest.raises(WorldError, match=said):
            await keeper.spawn(argv, around)

    with_capsule(place, scenario)


def test_it_is_alone_when_nothing_is_left_that_lives(place: Place) -> None:
    async def scenario(_premises: Premises, keeper: Keeper) -> None:
        assert alone(keeper)
        child = await keeper.spawn(["sleep", "1000"], place.around)
        assert not alone(keeper)
        child.handle.kill()
        assert await over_within(child.handle, LIMIT_S)
        assert alone(keeper)
        child.close()

    with_capsule(place, scenario)


def test_what_has_forked_away_is_not_left_out(place: Place) -> None:
    async def scenario(_premises: Premises, keeper: Keeper) -> None:
        child = await keeper.spawn(["sh", "-c", FORKS_AND_ENDS], place.around)
        assert await over_within(child.handle, LIMIT_S)
        assert not alone(keeper)
        child.close()

    with_capsule(place, scenario)


def test_process_numbers_begin_where_they_were_asked_to(place: Place) -> None:
    async def scenario(_premises: Premises, keeper: Keeper) -> None:
        child = await keeper.spawn(["sleep", "1000"], place.around)
        assert child.pid >= 3000
        child.close()

    with_capsule(place, scenario)


def test_the_end_of_a_process_is_told_once_to_each_handle_that_watches(place: Place) -> None:
    async def scenario(_premises: Premises, keeper: Keeper) -> None:
        child = await keeper.spawn(["sleep", "1000"], place.around, "main")
        second, third = child.handle.copy(), child.handle.copy()
        told: list[str] = []
        child.handle.when_over(lambda: told.append("first"))
        second.when_over(lambda: told.append("second"))
        third.when_over(lambda: told.append("third"))
        third.close()
        third.close()
        assert lives(child.handle)
        assert not await over_within(child.handle, 0.01)
        second.kill()
        assert await over_within(child.handle, LIMIT_S)
        assert await keeper.status(child.pid, LIMIT_S) == signal.SIGKILL
        assert sorted(told) == ["first", "second"]
        assert child.handle.is_gone
        assert child.handle.is_dying
        child.handle.kill()
        child.handle.ask_to_end()
        second.close()
        child.close()

    with_capsule(place, scenario)


def test_what_is_asked_to_end_may_refuse(place: Place) -> None:
    async def scenario(_premises: Premises, keeper: Keeper) -> None:
        yielding = await keeper.spawn(["sleep", "1000"], place.around)
        yielding.handle.ask_to_end()
        assert await over_within(yielding.handle, LIMIT_S)
        assert await keeper.status(yielding.pid, LIMIT_S) == signal.SIGTERM
        yielding.close()

    with_capsule(place, scenario)


def test_who_connects_next_finds_notes_and_processes_and_hears_of_their_end(place: Place) -> None:
    async def scenario(premises: Premises, keeper: Keeper) -> None:
        await keeper.note(run=7)
        (await keeper.spawn(["sleep", "1000"], place.around, "main")).close()
        later = await premises.reach(place.folder / "capsule")
        assert later is not None
        assert later.notes == {"run": 7}
        (child,) = later.take_found()
        assert later.take_found() == ()
        assert child.tag == "main"
        child.handle.kill()
        assert await later.status(child.pid, LIMIT_S) == signal.SIGKILL
        child.close()
        later.close()
        assert await run(keeper, ["true"], place.around, LIMIT_S) == 0, "others go on"

    with_capsule(place, scenario)


def test_a_capsule_in_a_sandbox_ends_without_it(place: Place) -> None:
    async def scenario(premises: Premises, outer: Keeper) -> None:
        inner = await outer.enclose("inner", place.folder / "inner")
        child = await inner.spawn(["sh", "-c", FORKS_AWAY], place.around)
        assert await end(inner, LIMIT_S)
        assert child.handle.is_gone
        assert await inner.status(child.pid) is None
        assert await run(outer, ["true"], place.around, LIMIT_S) == 0
        assert await premises.reach(place.folder / "inner") is None
        child.close()
        inner.close()

    with_capsule(place, scenario)


def test_a_sandbox_ends_with_all_that_is_in_it(place: Place) -> None:
    async def scenario(premises: Premises, outer: Keeper) -> None:
        inner = await outer.enclose("inner", place.folder / "inner")
        stubborn = await inner.spawn(["sh", "-c", IGNORES], place.around)
        assert await end(outer, LIMIT_S)
        assert inner.handle.is_gone
        assert stubborn.handle.is_gone
        for keeper in (inner, outer):
            with pytest.raises(WorldError, match="is gone"):
                await run(keeper, ["true"], place.around, LIMIT_S)
        stubborn.close()
        inner.close()

    with_capsule(place, scenario)


def test_one_that_is_frozen_holds_nobody_up_and_can_be_ended_by_its_folder(place: Place) -> None:
    async def scenario(premises: Premises, keeper: Keeper) -> None:
        place.stop(keeper.handle)
        with pytest.raises(WorldError, match="did not answer within"):
            await premises.reach(place.folder / "capsule")
        assert lives(keeper.handle)
        await premises.end_unreachable(place.folder / "capsule", LIMIT_S)
        assert keeper.handle.is_gone
        assert await premises.reach(place.folder / "capsule") is None

    with_capsule(place, scenario)


def test_a_start_that_is_broken_off_leaves_nothing_behind(place: Place) -> None:
    async def all_of_it(premises: Premises) -> None:
        starting = asyncio.ensure_future(premises.start_capsule("capsule", place.folder / "capsule", 3000))
        await asyncio.sleep(0)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        await premises.end_unreachable(place.folder / "capsule", LIMIT_S)
        assert await premises.reach(place.folder / "capsule") is None

    place.play(all_of_it)


def test_a_capsule_whose_making_is_broken_off_is_not_left_behind(place: Place) -> None:
    async def scenario(premises: Premises, outer: Keeper) -> None:
        making = asyncio.ensure_future(outer.enclose("inner", place.folder / "inner"))
        await asyncio.sleep(0)
        making.cancel()
        with pytest.raises(asyncio.CancelledError):
            await making
        assert await run(outer, ["true"], place.around, LIMIT_S) == 0, "by now it has been made"
        while (left := await premises.reach(place.folder / "inner")) is not None:
            assert await over_within(left.handle, LIMIT_S)
            left.close()

    with_capsule(place, scenario)


def test_a_program_that_nobody_waits_for_any_more_is_ended(place: Place) -> None:
    async def scenario(_premises: Premises, keeper: Keeper) -> None:
        starting = asyncio.ensure_future(keeper.spawn(["sleep", "1000"], place.around))
        await asyncio.sleep(0)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert await run(keeper, ["true"], place.around, LIMIT_S) == 0, "by now it has been started"
        for child in await keeper.children():
            assert await over_within(child.handle, LIMIT_S)
            child.close()

    with_capsule(place, scenario)


@pytest.mark.namespaces
def test_the_list_of_processes_names_a_capsule_by_its_own_settings(tmp_path: Path) -> None:
    async def scenario(_premises: Premises, outer: Keeper) -> None:
        inner = await outer.enclose("inner", tmp_path / "inner")
        assert isinstance(inner.handle, Pidfd)
        assert b'{"name": "inner"' in Path(f"/proc/{inner.handle.pid}/cmdline").read_bytes()
        inner.close()

    with_capsule(Here(tmp_path), scenario)
