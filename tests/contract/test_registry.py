"""The registry with an agent, clients and each other: what it answers, and what it has kept."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from holdfast.errors import UserError
from holdfast.lab.functions.registry import Options, Registry, options
from holdfast.lab.functions.registry_state import Checkpointed, Replicated
from holdfast.wire.component import Failed, Lost, Ok, Position, Synced, Unwell
from tests.contract.component_agent import Stage, stage


class Client:
    """Asks registries over UDP, in the same loop as they run."""

    def __init__(self, scene: Stage) -> None:
        self._scene = scene
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.answers: dict[str, str] = {}
        self._number = 0
        scene.loop.on_readable(self._socket, self._read)

    def send(self, registry: Registry, words: str) -> str:
        """Send a request; its number is the key of the answer to come."""
        self._number += 1
        number = str(self._number)
        self._socket.sendto(f"{number} {words}".encode(), ("127.0.0.1", registry.doors[0].port))
        return number

    def ask(self, registry: Registry, words: str) -> str:
        number = self.send(registry, words)
        self._scene.agent.until(lambda: number in self.answers)
        return self.answers[number]

    def _read(self) -> None:
        number, _, rest = self._socket.recv(2000).decode().partition(" ")
        self.answers[number] = rest

    def close(self) -> None:
        self._scene.loop.forget(self._socket)
        self._socket.close()


@pytest.fixture
def scene() -> Iterator[Stage]:
    with stage() as made:
        yield made


@pytest.fixture
def client(scene: Stage) -> Iterator[Client]:
    made = Client(scene)
    yield made
    made.close()


def _begin(scene: Stage, name: str, *words: str, **environment: str) -> Registry:
    registry = Registry(options(["--port", "0", "--replication-port", "0", *words], {}))
    scene.begin(registry, name, **environment)
    return registry


def _peer(registry: Registry) -> str:
    assert isinstance(registry.keeping, Replicated)
    return f"127.0.0.1:{registry.keeping.state.port}"


def _pair(scene: Stage, *words: str) -> tuple[Registry, Registry]:
    """An active registry-1 (epoch 7), and registry-2 as its standby, in sync."""
    first, second = _begin(scene, "registry-1", *words), _begin(scene, "registry-2", *words)
    scene.agent.active("registry-1", 7)
    scene.agent.standby("registry-2", 7, "registry-1", _peer(first))
    told = scene.agent.components["registry-1"].told
    scene.agent.until(lambda: told == [Synced("registry-2", 7)])
    return first, second


def test_only_the_active_one_serves(scene: Stage, client: Client) -> None:
    registry = _begin(scene, "registry-1", HOLDFAST_EPOCH="3")
    assert client.ask(registry, "get alice") == "refused registry-1 3 not-active"
    assert scene.agent.active("registry-1", 7) == Ok(1, Position(0, 0))
    assert client.ask(registry, "get alice") == "none registry-1 7"
    assert client.ask(registry, "put alice 30") == "ok registry-1 7"
    assert client.ask(registry, "get alice") == "ok registry-1 7 30"
    assert client.ask(registry, "dance") == "refused registry-1 7 malformed"
    assert client.ask(registry, "put alice") == "refused registry-1 7 malformed"


def test_a_put_is_at_the_standby_before_it_is_answered(scene: Stage, client: Client) -> None:
    first, second = _pair(scene)
    for number in range(20):
        assert client.ask(first, f"put key{number} {number}") == "ok registry-1 7"
        assert second.subscribers.values[b"key%d" % number] == b"%d" % number
    assert second.position() == Position(7, 20)
    assert client.ask(second, "get key1") == "refused registry-2 7 not-active"


def test_the_standby_takes_over_with_everything_that_was_acknowledged(scene: Stage, client: Client) -> None:
    first, second = _pair(scene)
    client.ask(first, "put alice 30")
    scene.end(first)
    assert scene.agent.active("registry-2", 8) == Ok(3, Position(7, 1))
    assert client.ask(second, "get alice") == "ok registry-2 8 30"
    assert client.ask(second, "put bob 41") == "ok registry-2 8"
    assert second.position() == Position(8, 2)


def test_puts_wait_until_the_loss_of_a_standby_is_recorded(scene: Stage, client: Client) -> None:
    first, second = _pair(scene)
    scene.end(second)
    told = scene.agent.components["registry-1"].told
    scene.agent.until(lambda: Lost("registry-2", 7) in told)
    number = client.send(first, "put alice 30")
    assert client.ask(first, "get alice") == "none registry-1 7", "what may be lost is not shown"
    assert number not in client.answers
    scene.agent.recorded("registry-1", "registry-2")
    scene.agent.until(lambda: client.answers.get(number) == "ok registry-1 7")
    assert client.ask(first, "get alice") == "ok registry-1 7 30"


def test_a_standby_in_sync_that_never_comes_is_reported(scene: Stage, client: Client) -> None:
    first = _begin(scene, "registry-1")
    scene.agent.active("registry-1", 7, "registry-2")
    number = client.send(first, "put alice 30")
    told = scene.agent.components["registry-1"].told
    scene.agent.until(lambda: told == [Lost("registry-2", 7)])
    assert number not in client.answers
    scene.agent.recorded("registry-1", "registry-2")
    scene.agent.until(lambda: number in client.answers)


def test_a_repaired_standby_gets_what_it_missed_and_is_in_sync_again(scene: Stage, client: Client) -> None:
    first, second = _pair(scene)
    client.ask(first, "put alice 30")
    scene.end(second)
    told = scene.agent.components["registry-1"].told
    scene.agent.until(lambda: Lost("registry-2", 7) in told)
    scene.agent.recorded("registry-1", "registry-2")
    client.ask(first, "put bob 41")
    again = _begin(scene, "registry-2")
    assert again.position() == Position(7, 1)
    scene.agent.standby("registry-2", 7, "registry-1", _peer(first))
    scene.agent.until(lambda: told.count(Synced("registry-2", 7)) == 2)
    assert again.subscribers.values == {b"alice": b"30", b"bob": b"41"}


def test_an_old_active_that_returns_drops_what_was_never_acknowledged(scene: Stage, client: Client) -> None:
    first, second = _pair(scene)
    client.ask(first, "put alice 30")
    scene.end(second)
    unanswered = client.send(first, "put alice lost")
    told = scene.agent.components["registry-1"].told
    scene.agent.until(lambda: Lost("registry-2", 7) in told and first.position() == Position(7, 2))
    scene.end(first)
    second = _begin(scene, "registry-2")
    scene.agent.active("registry-2", 8)
    client.ask(second, "put bob 41")
    first = _begin(scene, "registry-1")
    assert first.subscribers.values == {b"alice": b"lost"}
    scene.agent.standby("registry-1", 8, "registry-2", _peer(second))
    scene.agent.until(lambda: first.position() == Position(8, 2))
    assert first.subscribers.values == {b"alice": b"30", b"bob": b"41"}
    assert unanswered not in client.answers
    scene.end(first)
    first = _begin(scene, "registry-1")
    assert (first.position(), first.subscribers.values[b"alice"]) == (Position(8, 2), b"30")


def test_a_cold_start_finds_state_and_position(scene: Stage, client: Client) -> None:
    first, second = _pair(scene)
    client.ask(first, "put alice 30")
    scene.end(first)
    scene.end(second)
    for name in ("registry-1", "registry-2"):
        again = _begin(scene, name)
        hello = scene.agent.components[name].hello
        assert hello is not None
        assert (hello.position, again.subscribers.values) == (Position(7, 1), {b"alice": b"30"})


def test_a_switchover_hands_everything_over_and_refuses_meanwhile(scene: Stage, client: Client) -> None:
    first, second = _pair(scene)
    client.ask(first, "put alice 30")
    assert isinstance(scene.agent.quiesce("registry-1", 7), Ok)
    assert client.ask(first, "put bob 41") == "refused registry-1 7 not-active"
    assert isinstance(scene.agent.active("registry-2", 8), Ok)
    assert isinstance(scene.agent.standby("registry-1", 8, "registry-2", _peer(second)), Ok)
    told = scene.agent.components["registry-2"].told
    scene.agent.until(lambda: told == [Synced("registry-1", 8)])
    assert client.ask(second, "put bob 41") == "ok registry-2 8"
    assert first.subscribers.values == {b"alice": b"30", b"bob": b"41"}


def test_an_active_that_was_overtaken_says_so_and_serves_no_more(
    scene: Stage, client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    first = _begin(scene, "registry-1")
    second = _begin(scene, "registry-2")
    scene.agent.active("registry-1", 7)
    scene.agent.active("registry-2", 8)
    scene.agent.standby("registry-2", 8, "registry-1", _peer(first))
    told = scene.agent.components["registry-1"].told
    scene.agent.until(lambda: told == [Unwell("superseded: another was active under epoch 8")])
    assert client.ask(first, "put alice 30") == "refused registry-1 7 unwell"
    assert isinstance(scene.agent.check("registry-1"), Unwell)
    assert second.subscribers.values == {}
    assert "epoch 7 is older than 8" in capsys.readouterr().err


def test_a_new_agent_hears_what_the_one_before_may_not_have_passed_on(scene: Stage) -> None:
    first, second = _pair(scene)
    scene.agent.close()
    scene.agent.components["registry-1"].told.clear()
    scene.agent.reopen()
    told = scene.agent.components["registry-1"].told
    scene.agent.until(lambda: told == [Synced("registry-2", 7)])
    scene.end(second)
    scene.agent.until(lambda: told[-1] == Lost("registry-2", 7))
    scene.agent.close()
    told.clear()
    scene.agent.reopen()
    scene.agent.until(lambda: told == [Lost("registry-2", 7)])
    assert first.role == "active"


def test_periodic_replication_acknowledges_at_once(scene: Stage, client: Client) -> None:
    first, second = _pair(scene, "--replication", "periodic", "--replication-every", "20ms")
    assert client.ask(first, "put alice 30") == "ok registry-1 7"
    scene.agent.until(lambda: second.subscribers.values == {b"alice": b"30"})


def test_a_large_state_reaches_a_new_standby(scene: Stage, client: Client) -> None:
    first = _begin(scene, "registry-1")
    scene.agent.active("registry-1", 7)
    assert isinstance(first.keeping, Replicated)
    for number in range(5000):
        first.keeping.put(b"key%d " % number + b"v" * 200, lambda _: None)
    second = _begin(scene, "registry-2")
    scene.agent.standby("registry-2", 7, "registry-1", _peer(first))
    scene.agent.until(lambda: second.position() == Position(7, 5000))
    assert second.subscribers.values == first.subscribers.values
    scene.end(second)
    assert _begin(scene, "registry-2").subscribers.values == first.subscribers.values


def test_a_file_makes_it_refuse_the_active_role(scene: Stage, tmp_path: Path) -> None:
    refuse = tmp_path / "refuse"
    refuse.touch()
    registry = _begin(scene, "registry-1", "--fail-active-if", str(refuse))
    assert scene.agent.active("registry-1", 7) == Failed(1, f"{refuse} exists")
    refuse.unlink()
    assert isinstance(scene.agent.active("registry-1", 8), Ok)
    assert registry.role == "active"


@pytest.mark.parametrize("every", ["each", "20ms"])
def test_with_checkpoints_starting_means_serving_with_the_state_before(
    scene: Stage, client: Client, tmp_path: Path, every: str
) -> None:
    words = ["--state", "checkpoint", "--checkpoint-every", every, "--storage", str(tmp_path)]
    registry = _begin(scene, "registry-1", *words, HOLDFAST_EPOCH="4")
    assert client.ask(registry, "put alice 30") == "ok registry-1 4"
    scene.agent.until(lambda: every == "each" or any((tmp_path / "subscribers").glob("checkpoint.*1")))
    # The next one starts while the storage is as a killed process leaves it: nobody has said goodbye.
    again = _begin(scene, "registry-2", *words, HOLDFAST_EPOCH="5")
    hello = scene.agent.components["registry-2"].hello
    assert hello is not None
    assert hello.position == Position(4, 1)
    assert client.ask(again, "get alice") == "ok registry-2 5 30"
    assert isinstance(scene.agent.active("registry-2", 5), Ok)
    number = client.send(registry, "put alice 31")
    told = scene.agent.components["registry-1"].told
    scene.agent.until(lambda: any(isinstance(word, Unwell) and "epoch 4" in word.reason for word in told))
    assert every != "each" or number not in client.answers
    assert client.ask(again, "get alice") == "ok registry-2 5 30"
    assert client.ask(registry, "get alice") == "refused registry-1 4 unwell"


def test_with_each_put_durable_the_journal_is_replaced_by_checkpoints(scene: Stage, tmp_path: Path) -> None:
    words = ["--state", "checkpoint", "--checkpoint-every", "each", "--storage", str(tmp_path)]
    registry = _begin(scene, "registry-1", *words, HOLDFAST_EPOCH="4")
    answered: list[bool] = []
    for number in range(3000):
        assert registry.keeping.put(b"key%d " % (number % 7) + b"v" * 1000, answered.append)
        if number % 500 == 499:
            scene.agent.until(lambda: len(answered) == number + 1)  # noqa: B023 asked within this turn only
    assert all(answered)
    assert any((tmp_path / "subscribers").glob("checkpoint.*"))
    scene.end(registry)
    again = _begin(scene, "registry-1", *words, HOLDFAST_EPOCH="5")
    assert isinstance(again.keeping, Checkpointed)
    assert again.position() == Position(4, 3000)
    assert len(again.subscribers.values) == 7


def test_without_state_it_serves_from_memory(scene: Stage, client: Client) -> None:
    registry = _begin(scene, "registry-1", "--state", "none", "--start", "serving", HOLDFAST_EPOCH="2")
    assert client.ask(registry, "put alice 30") == "ok registry-1 2"
    assert client.ask(registry, "get alice") == "ok registry-1 2 30"
    assert registry.position() is None


def test_answers_come_from_the_address_that_was_asked(scene: Stage) -> None:
    registry = _begin(scene, "registry-1", "--state", "none", "--start", "serving")
    seen: list[tuple[str, bytes]] = []
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as four,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as six,
    ):
        four.bind(("127.0.0.1", 0))
        six.bind(("::1", 0))
        for asking in (four, six):
            scene.loop.on_readable(asking, lambda asking=asking: seen.append(_from(asking)))  # type: ignore[misc]
        four.sendto(b"1 get a", ("127.0.0.77", registry.doors[0].port))
        scene.agent.until(lambda: len(seen) == 1)
        six.sendto(b"2 get a", ("::1", registry.doors[1].port))
        scene.agent.until(lambda: len(seen) == 2)
        for asking in (four, six):
            scene.loop.forget(asking)
    assert seen == [("127.0.0.77", b"1 none registry-1 0"), ("::1", b"2 none registry-1 0")]


def _from(asking: socket.socket) -> tuple[str, bytes]:
    data, sender = asking.recvfrom(2000)
    return sender[0], data


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--colour", "red"], "unknown option"),
        (["--port"], "missing value"),
        (["--port", "70000"], "--port is '70000'"),
        (["--state", "liquid"], "--state is 'liquid'"),
        (["--checkpoint-every", "50"], "--checkpoint-every is '50'"),
        (["--checkpoint-every", "0ms"], "--checkpoint-every is '0ms'"),
        (["--replication", "sometimes"], "--replication is 'sometimes'"),
    ],
)
def test_wrong_options_are_refused_with_what_was_expected(words: Sequence[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as refused:
        options(words, {})
    assert refused.value.hint


def test_options_have_the_documented_defaults() -> None:
    assert options([], {}) == Options()
    chosen = options(["--state", "checkpoint", "--checkpoint-every", "each"], {"HOLDFAST_STORAGE": "/s"})
    assert (chosen.starts_serving, chosen.checkpoint_every_s, chosen.storage) == (True, None, "/s")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--state", "checkpoint"], b"checkpoints need shared storage\n"),
        (["--port", "none"], b"--port is 'none'\n"),
    ],
)
def test_a_registry_that_cannot_start_says_why(words: Sequence[str], said: bytes) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HOLDFAST_")}
    ended = subprocess.run(
        [sys.executable, "-m", "holdfast.lab.functions.registry", *words],
        env=environment,
        capture_output=True,
        check=False,
        timeout=20,
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith(said)
