"""The examples of docs/vnfc.md and docs/component-protocol.md do what the text around them says."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast import vnfc
from holdfast.model.limits import COMPONENT_LINE_BYTES_MAX, COMPONENT_LINES_PER_S_MAX
from holdfast.state.checkpoint import Fenced
from holdfast.wire.component import Ok, Synced, from_agent, from_component
from tests.contract.component_agent import Stage, stage

DOCS = Path(__file__).resolve().parents[2] / "docs"
GUIDE = (DOCS / "vnfc.md").read_text()
PROTOCOL = (DOCS / "component-protocol.md").read_text()


@pytest.fixture
def scene() -> Iterator[Stage]:
    with stage() as made:
        yield made


def _example(text: str, name: str) -> Any:
    """What the example that defines this name defines by it."""
    [code] = [code for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if f"class {name}(" in code]
    defined: dict[str, Any] = {"__name__": "example"}
    exec(compile(code, f"example {name}", "exec"), defined)
    return defined[name]


def test_every_example_of_the_guide_can_be_defined() -> None:
    codes = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    defined: dict[str, Any] = {"__name__": "example"}
    for code in codes:
        exec(compile(code, "example", "exec"), defined)
    made = {name for name, value in defined.items() if isinstance(value, type) and issubclass(value, vnfc.Component)}
    assert made == {"Hello", "Echo", "Claiming", "Counter", "Saved"}


def test_the_shape_of_a_component_takes_all_roles(scene: Stage) -> None:
    scene.begin(_example(GUIDE, "Hello")(), "hello-1")
    assert isinstance(scene.agent.active("hello-1", 7), Ok)
    assert isinstance(scene.agent.quiesce("hello-1", 7), Ok)
    assert isinstance(scene.agent.standby("hello-1", 8, "hello-2"), Ok)
    assert isinstance(scene.agent.check("hello-1"), Ok)


def test_the_loop_example_answers_with_its_role(scene: Stage) -> None:
    component = _example(GUIDE, "Echo")()
    scene.begin(component, "echo-1")
    scene.agent.active("echo-1", 7)
    with socket.create_connection(component.door.getsockname()) as client:
        client.setblocking(False)
        answers: list[bytes] = []
        scene.loop.on_readable(client, lambda: answers.append(client.recv(10)))
        scene.agent.until(lambda: bool(answers))
        scene.loop.forget(client)
    assert answers == [b"active"]


def test_the_claiming_example_asks_for_the_address_only_when_told_to(scene: Stage) -> None:
    scene.begin(_example(GUIDE, "Claiming")(), "c-1")
    assert isinstance(scene.agent.active("c-1", 7, address="10.0.0.1/24", claim=False), Ok)
    assert isinstance(scene.agent.standby("c-1", 8, "c-2"), Ok)


def test_the_replicated_example_counts_on_both_sides(scene: Stage) -> None:
    counter = _example(GUIDE.replace("port=7001", "port=0"), "Counter")  # any free one, as both run here
    first, second = counter(), counter()
    scene.begin(first, "counter-1")
    scene.begin(second, "counter-2")
    assert isinstance(scene.agent.active("counter-1", 7), Ok)
    scene.agent.standby("counter-2", 7, "counter-1", f"127.0.0.1:{first.state.port}")
    told = scene.agent.components["counter-1"].told
    scene.agent.until(lambda: told == [Synced("counter-2", 7)])
    answers: list[bool] = []
    assert first.add(40, answers.append)
    assert first.add(2, answers.append)
    scene.agent.until(lambda: answers == [True, True])
    assert (first.tally.total, second.tally.total) == (42, 42)
    assert not second.add(1, answers.append)


def test_the_example_with_storage_goes_on_where_it_was_and_is_fenced(
    scene: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLDFAST_STORAGE", str(tmp_path))
    saved = _example(GUIDE, "Saved")
    first, second = saved(), saved()
    scene.begin(first, "saved-1", HOLDFAST_EPOCH="3")
    first.add_durably(40)
    first.add_durably(2)
    scene.begin(second, "saved-2", HOLDFAST_EPOCH="4")
    assert second.count == 42
    with pytest.raises(Fenced):
        first.add_durably(1)


def test_the_component_without_the_library_does_what_the_text_says(scene: Stage) -> None:
    [code] = re.findall(r"```python\n(.*?)```", PROTOCOL, re.DOTALL)
    assert code.count("\n") <= 30
    with socket.create_server(("127.0.0.1", 0)) as chosen:
        port: int = chosen.getsockname()[1]
    names = {"HOLDFAST_VNFC": "plain-1", "HOLDFAST_SOCKET": scene.agent.path, "PLAIN_PORT": str(port)}
    with subprocess.Popen([sys.executable, "-c", code], env={**os.environ, **names}) as process:
        scene.agent.joined("plain-1")
        scene.agent.active("plain-1", 7, "plain-2", address="10.0.0.1/24")
        with socket.create_connection(("127.0.0.1", port), 60) as client:
            assert client.makefile().read() == "plain-1 7\n"
        assert isinstance(scene.agent.check("plain-1"), Ok)
        assert isinstance(scene.agent.stop("plain-1"), Ok)
        assert process.wait(60) == 0


def test_every_line_in_the_protocol_text_is_one() -> None:
    agent, component = PROTOCOL.split("### Agent to component")[1], PROTOCOL.split("### Agent to component")[0]
    said = 0
    for text, decoder in ((agent, from_agent()), (component.split("### Component to agent")[1], from_component())):
        for line in re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE):
            assert len(decoder.feed(line.encode() + b"\n")) == 1
            said += 1
    assert said == 14


def test_the_text_names_the_limits_that_hold() -> None:
    assert f"at most {COMPONENT_LINE_BYTES_MAX} bytes" in PROTOCOL
    assert f"More than {COMPONENT_LINES_PER_S_MAX} lines a second" in PROTOCOL
