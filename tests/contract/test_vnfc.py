"""The component library against an agent: roles, checks, reconnection, the loop."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast import vnfc
from holdfast.errors import UserError, WorldError
from holdfast.vnfc.address import parsed
from holdfast.wire.component import BecomeActive, Failed, Hello, Ok, Quiesce, Unwell
from tests.contract.component_agent import Stage, stage, until

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def scene() -> Iterator[Stage]:
    with stage() as made:
        yield made


class Recorder(vnfc.Component):
    """Remembers what it was told."""

    def start(self) -> None:
        self.calls: list[str] = []
        self.wrong: str | None = None
        self.later: vnfc.Role | None = None

    def stop(self) -> None:
        self.calls.append("stop")

    def become_active(self, role: vnfc.Role) -> vnfc.Later | None:
        if role.service == "impossible":
            raise vnfc.RoleFailed("the port is in use")
        if role.service == "bug":
            raise KeyError("oops")
        if role.service == "slow":
            self.later = role
            return vnfc.LATER
        self.calls.append(f"active {role.service} {role.epoch} {role.in_sync} {role.address} {role.claim}")
        return None

    def become_standby(self, role: vnfc.Role) -> None:
        self.calls.append(f"standby {role.service} {role.epoch} {role.active} {role.peer}")

    def quiesce(self, role: vnfc.Role) -> None:
        self.calls.append(f"quiesce {role.service} {role.epoch}")

    def check(self) -> str | None:
        return self.wrong

    def recorded(self, standby: str) -> None:
        self.calls.append(f"recorded {standby}")

    def position(self) -> vnfc.Position:
        return vnfc.Position(3, 14)


def test_a_component_says_hello_with_its_name_and_position(scene: Stage) -> None:
    scene.begin(Recorder(), "r-1", HOLDFAST_EPOCH="4")
    assert scene.agent.joined("r-1").hello == Hello("r-1", 1, vnfc.Position(3, 14))


def test_roles_are_told_and_answered_in_turn(scene: Stage) -> None:
    component = Recorder()
    scene.begin(component, "r-1")
    done = Ok(1, vnfc.Position(3, 14))
    assert scene.agent.standby("r-1", 7, "r-2", "10.0.0.2:7001") == done
    assert scene.agent.active("r-1", 8, "r-2", address="10.0.0.9/24", claim=True) == Ok(2, done.position)
    roles = [component.role]
    assert scene.agent.recorded("r-1", "r-2") == Ok(3)
    assert scene.agent.quiesce("r-1", 8) == Ok(4, done.position)
    assert [*roles, component.role] == ["active", "quiescing"]
    assert component.calls == [
        "standby registry 7 r-2 10.0.0.2:7001",
        "active registry 8 ('r-2',) 10.0.0.9/24 True",
        "recorded r-2",
        "quiesce registry 8",
    ]


def test_the_same_instruction_again_is_answered_and_not_carried_out_twice(scene: Stage) -> None:
    component = Recorder()
    scene.begin(component, "r-1")
    scene.agent.active("r-1", 8)
    scene.agent.active("r-1", 8)
    assert component.calls == ["active registry 8 ()  False"]


def test_an_instruction_with_an_older_epoch_is_refused(scene: Stage) -> None:
    component = Recorder()
    scene.begin(component, "r-1")
    scene.agent.active("r-1", 8)
    assert scene.agent.standby("r-1", 7, "r-2") == Failed(2, "epoch 7 is older than 8")
    assert component.role == "active"


@pytest.mark.parametrize(("service", "reason"), [("impossible", "the port is in use"), ("bug", "KeyError: 'oops'")])
def test_a_role_that_cannot_be_taken_is_answered_with_the_reason(
    scene: Stage, service: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    component = Recorder()
    scene.begin(component, "r-1")
    assert scene.agent.answer("r-1", lambda n: BecomeActive(n, service, 8)) == Failed(1, reason)
    assert component.role == "none"
    assert ("Traceback" in capsys.readouterr().err) == (service == "bug")


def test_a_role_may_be_answered_later_and_repetitions_wait_for_the_same_answer(scene: Stage) -> None:
    component = Recorder()
    scene.begin(component, "r-1")
    first = scene.agent.ask("r-1", lambda n: BecomeActive(n, "slow", 8))
    again = scene.agent.ask("r-1", lambda n: BecomeActive(n, "slow", 8))
    assert isinstance(scene.agent.check("r-1"), Ok)
    assert (first(), again(), component.role) == (None, None, "none")
    assert component.later is not None
    component.later.ok()
    scene.agent.until(lambda: first() is not None and again() is not None)
    assert component.role == "active"


def test_a_role_that_is_overtaken_by_another_is_answered_as_failed(scene: Stage) -> None:
    component = Recorder()
    scene.begin(component, "r-1")
    first = scene.agent.ask("r-1", lambda n: BecomeActive(n, "slow", 8))
    assert isinstance(scene.agent.answer("r-1", lambda n: Quiesce(n, "slow", 8)), Ok)
    assert first() == Failed(1, "another instruction came before it was done")
    assert component.later is not None
    component.later.ok()
    assert component.role == "quiescing"


def test_checks_say_what_is_wrong(scene: Stage) -> None:
    component = Recorder()
    scene.begin(component, "r-1")
    assert scene.agent.check("r-1") == Ok(1, vnfc.Position(3, 14))
    component.wrong = "disk full"
    assert scene.agent.check("r-1") == Unwell("disk full", 2)
    component.tell_unwell("superseded")
    scene.agent.until(lambda: scene.agent.components["r-1"].told == [Unwell("superseded")])


def test_a_component_keeps_its_role_while_the_agent_is_away_and_says_so_when_it_is_back(scene: Stage) -> None:
    component = Recorder()
    scene.begin(component, "r-1")
    scene.agent.active("r-1", 8)
    scene.agent.close()
    session = component.session
    assert session is not None
    scene.agent.until(lambda: not session.is_connected)
    component.tell_unwell("said to nobody")
    scene.agent.reopen()
    scene.agent.until(lambda: session.is_connected)
    assert scene.agent.components["r-1"].hello == Hello("r-1", 1, vnfc.Position(3, 14), "active", "registry", 8)
    scene.agent.active("r-1", 8)
    assert component.calls == ["active registry 8 ()  False"]


def test_an_agent_that_breaks_the_protocol_is_left_and_met_again(
    scene: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    scene.begin(Recorder(), "r-1")
    conversation = scene.agent.components["r-1"]
    assert conversation.connection is not None
    conversation.connection.send(b"dance\n")
    scene.agent.until(lambda: conversation.hellos == 2)
    assert "unknown word 'dance'" in capsys.readouterr().err


def test_timers_fire_in_order_and_not_when_cancelled() -> None:
    loop = vnfc.Loop()
    fired: list[str] = []
    loop.call_later(0.003, lambda: fired.append("late"))
    loop.call_later(0.001, lambda: fired.append("early"))
    loop.call_later(0.002, lambda: fired.append("never")).cancel()
    until(loop, lambda: "late" in fired)
    loop.close()
    assert fired == ["early", "late"]


def test_a_socket_that_is_forgotten_in_a_callback_is_not_called_any_more() -> None:
    loop = vnfc.Loop()
    first, second = socket.socketpair()
    seen: list[bytes] = []

    def readable() -> None:
        seen.append(second.recv(10))
        loop.forget(second)

    loop.on_readable(second, readable)
    loop.on_writable(second, lambda: seen.append(b"writable"))
    first.send(b"x")
    loop.turn(1.0)
    first.send(b"y")
    loop.turn(0.0)
    for end in (first, second):
        end.close()
    loop.close()
    assert seen == [b"x"]


def _run(code: str, **environment: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_sigterm_ends_a_component_in_good_order() -> None:
    code = """
    from holdfast import vnfc
    class Quiet(vnfc.Component):
        def start(self): print("up", flush=True)
        def stop(self): print("stopped", flush=True)
    vnfc.run(Quiet())
    """
    with _run(code) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=60) == (b"stopped\n", b"")
    assert process.returncode == 0


def test_an_error_of_the_user_ends_a_component_with_its_status_and_no_traceback() -> None:
    with _run("from holdfast import vnfc; vnfc.run(vnfc.Component())", HOLDFAST_EPOCH="many") as process:
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (2, b"HOLDFAST_EPOCH is 'many', expected a number\n")


def test_the_library_needs_the_standard_library_only() -> None:
    code = """
    import sys
    import holdfast.vnfc.replicated, holdfast.state.checkpoint
    # What a distribution or a virtual environment loads into each of its interpreters.
    ours = {"holdfast", "__main__", "_distutils_hack", "_virtualenv", "sitecustomize", "apport_python_hook"}
    print(sorted({name.split(".")[0] for name in sys.modules} - set(sys.stdlib_module_names) - ours))
    print("asyncio" in sys.modules)
    """
    with _run(code) as process:
        out, _ = process.communicate(timeout=60)
    assert out.split(b"\n")[0] == b"[]"
    assert out.split(b"\n")[1] == b"False"


def test_the_smallest_example_greets_while_it_is_active(scene: Stage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as chosen:
        port: int = chosen.getsockname()[1]
    environment = {
        **os.environ,
        "HOLDFAST_VNFC": "hello-1",
        "HOLDFAST_SOCKET": scene.agent.path,
        "HELLO_PORT": str(port),
    }

    def greeting() -> str:
        with socket.create_connection(("127.0.0.1", port), 60) as client:
            return client.makefile().read()

    with subprocess.Popen([sys.executable, str(ROOT / "examples" / "hello.py")], env=environment) as process:
        scene.agent.joined("hello-1")
        assert greeting() == ""
        scene.agent.active("hello-1", 7)
        assert greeting() == "hello from hello-1, epoch 7\n"
        assert isinstance(scene.agent.stop("hello-1"), Ok)
        assert process.wait(60) == 0


@pytest.mark.parametrize("address", ["10.0.0.1", "10.0.0.1/33", "fd00::1/x", "host/24", ""])
def test_an_address_that_is_none_is_refused_with_an_example(address: str) -> None:
    with pytest.raises(UserError) as refused:
        parsed(address)
    assert "expected one like" in refused.value.hint


def test_a_missing_interface_is_named() -> None:
    with pytest.raises(WorldError, match="no interface 'hfnone0'"):
        vnfc.claim_address("10.0.0.1/24", "hfnone0")
