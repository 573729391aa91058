"""Sandboxes: their end is complete and confirmed, they outlive who started them, they nest, they work without root."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.drivers import sandbox
from holdfast.drivers.sandbox import Sandbox
from holdfast.errors import WorldError

pytestmark = pytest.mark.namespaces
ENV = {"PATH": os.environ["PATH"]}
LIMIT_S = 20.0


@pytest.fixture
def vm(tmp_path: Path) -> Iterator[Sandbox]:
    with_own_run = Sandbox.start("vm-1", tmp_path / "vm", own_run=True, keep=[tmp_path], bound=True)
    try:
        yield with_own_run
    finally:
        with_own_run.kill()
        assert with_own_run.wait_gone(LIMIT_S)
        with_own_run.close()


def output_of(vm: Sandbox, tmp_path: Path, *argv: str) -> str:
    log = tmp_path / "log"
    log.write_text("")
    child = vm.spawn(argv, ENV, tmp_path, log)
    status = vm.wait(child, LIMIT_S)
    child.close()
    assert status == 0, log.read_text()
    return log.read_text()


def test_it_has_names_processes_and_a_network_of_its_own(vm: Sandbox, tmp_path: Path) -> None:
    assert output_of(vm, tmp_path, "hostname") == "vm-1\n"
    assert output_of(vm, tmp_path, "sh", "-c", "ls -d /proc/[0-9]* | wc -l; ls /run | wc -l").split()[1] == "0"
    assert "init.py" in output_of(vm, tmp_path, "cat", "/proc/1/cmdline")
    namespace = vm.netns_fd
    try:
        assert os.fstat(namespace).st_ino != os.stat("/proc/self/ns/net").st_ino
    finally:
        os.close(namespace)


def own_mounts() -> list[str]:
    """What this process has at the places that sandboxes make anew, with how it passes mounts on."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if line.split()[4] in ("/", "/proc", "/run")]


@pytest.mark.parametrize(
    ("namespaces", "own_run", "words"),
    [
        (("pid",), False, r"its own process numbers \(pid\), and so a /proc of its own, without mounts of its own"),
        (("pid", "net"), True, r"its own process numbers \(pid\)"),
        (("net",), True, "a /run of its own, without mounts of its own"),
        (("mnt", "user"), False, "the namespaces user, which are not known"),
    ],
)
def test_what_would_be_mounted_over_the_machines_own_is_refused_before_anything_begins(
    namespaces: tuple[str, ...], own_run: bool, words: str, tmp_path: Path
) -> None:
    mounts = own_mounts()
    with pytest.raises(WorldError, match=words) as refused:
        Sandbox.start("vm-1", tmp_path / "vm", namespaces=namespaces, own_run=own_run)
    assert "mnt" in refused.value.hint
    assert not (tmp_path / "vm").exists()
    assert own_mounts() == mounts


def test_a_sandbox_with_a_network_alone_leaves_the_machines_mounts_as_they_are(tmp_path: Path) -> None:
    mounts = own_mounts()
    with_net = Sandbox.start("net", tmp_path / "net", namespaces=("net",), bound=True)
    with_net.kill()
    assert with_net.wait_gone(LIMIT_S)
    with_net.close()
    assert own_mounts() == mounts


def test_the_first_process_may_be_ready_before_its_handle_has_come() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        handle = os.pidfd_open(os.getpid())
        theirs.send(json.dumps({"ready": True}).encode())
        socket.send_fds(theirs, [json.dumps({"pid": os.getpid()}).encode()], [handle])
        os.close(handle)
        pid, pidfd = sandbox.take_over(ours, "vm-1", LIMIT_S)
    assert sandbox.pid_of(pidfd) == pid == os.getpid()
    os.close(pidfd)


def test_what_forked_away_and_ignores_signals_ends_with_it(vm: Sandbox, tmp_path: Path) -> None:
    script = "trap '' TERM HUP INT; (setsid sh -c 'echo $$; sleep 1000') & echo started; wait"
    child = vm.spawn(["sh", "-c", script], ENV, tmp_path, tmp_path / "log")
    _reply, handles = vm.ask({"op": "describe"})
    vm.kill()
    assert vm.wait_gone(LIMIT_S)
    assert sandbox.gone(child.pidfd)
    assert all(sandbox.gone(handle) for handle in handles)
    for handle in (child.pidfd, *handles):
        os.close(handle)


def test_exit_statuses_and_signals_are_told(vm: Sandbox, tmp_path: Path) -> None:
    seven = vm.spawn(["sh", "-c", "exit 7"], ENV, tmp_path, tmp_path / "log")
    killed = vm.spawn(["sleep", "1000"], ENV, tmp_path, tmp_path / "log")
    assert vm.wait(killed, 0) is None
    signal.pidfd_send_signal(killed.pidfd, signal.SIGTERM)
    assert (vm.wait(killed, LIMIT_S), vm.wait(seven, LIMIT_S)) == (-signal.SIGTERM, 7)
    seven.close()
    killed.close()


@pytest.mark.parametrize(
    ("argv", "cwd", "said"),
    [
        (["no-such-program"], "", "no-such-program: No such file or directory"),
        (["true"], "missing", "missing: No such file or directory"),
        ([], "", "no command"),
    ],
)
def test_a_spawn_that_cannot_be_says_why(vm: Sandbox, tmp_path: Path, argv: list[str], cwd: str, said: str) -> None:
    with pytest.raises(WorldError, match=said):
        vm.spawn(argv, ENV, tmp_path / cwd, tmp_path / "log")


def test_nonsense_is_answered_and_harms_nobody(vm: Sandbox, tmp_path: Path) -> None:
    for request in ({"op": "fly"}, {"op": "spawn"}, {"op": "spawn", "argv": 3}):
        with pytest.raises(WorldError, match="not understood"):
            vm.ask(request)
    assert output_of(vm, tmp_path, "echo", "well") == "well\n"


def test_it_outlives_its_starter_and_is_attached_by_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)  # longer than the path of a socket may be
    starter = f"from pathlib import Path; from holdfast.drivers.sandbox import Sandbox; \
        Sandbox.start('s', Path({str(folder)!r})).ask({{'op': 'note', 'notes': {{'boot': 4}}}})"
    subprocess.run([sys.executable, "-W", "ignore", "-c", starter], check=True)
    attached = Sandbox.attach(folder)
    assert attached is not None
    reply, handles = attached.ask({"op": "describe"})
    assert (reply["name"], reply["notes"]) == ("s", {"boot": 4})
    attached.kill()
    assert attached.wait_gone(LIMIT_S)
    attached.close()
    for handle in handles:
        os.close(handle)
    assert Sandbox.attach(folder) is None


def test_a_bound_one_ends_with_its_starter_however_that_ends(tmp_path: Path) -> None:
    starter = f"import os, signal; from pathlib import Path; from holdfast.drivers.sandbox import Sandbox; \
        s = Sandbox.start('s', Path({str(tmp_path)!r}), bound=True); print(s.pid, flush=True); signal.pause()"
    with subprocess.Popen([sys.executable, "-c", starter], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        handle = os.pidfd_open(int(process.stdout.readline()))
        assert not sandbox.gone(handle)
        process.kill()
    assert sandbox.gone(handle, LIMIT_S)
    os.close(handle)


def test_it_nests_and_works_in_a_user_namespace(tmp_path: Path) -> None:
    inner = f"from pathlib import Path; from holdfast.drivers.sandbox import *; \
        s = Sandbox.start('inner', Path({str(tmp_path / 'inner')!r}), own_run=True, bound=True); \
        c = s.spawn(['hostname'], {{'PATH': '/usr/bin:/bin'}}, Path('/'), Path({str(tmp_path / 'log')!r})); \
        print(s.wait(c, 5)); s.kill(); print(s.wait_gone(5)); s.close(); c.close()"
    outer = f"import os, sys; from pathlib import Path; from holdfast.drivers.sandbox import *; \
        s = Sandbox.start('outer', Path({str(tmp_path / 'outer')!r}), bound=True); \
        c = s.spawn([sys.executable, '-c', {inner!r}], dict(os.environ), Path('/'), Path({str(tmp_path / 'log')!r})); \
        print(s.wait(c, 10)); s.kill(); print(s.wait_gone(5)); s.close(); c.close()"
    outcome = subprocess.run(
        ["unshare", "--user", "--map-root-user", sys.executable, "-c", outer],
        capture_output=True,
        text=True,
        check=False,
    )
    said = (tmp_path / "log").read_text()
    assert outcome.stdout.split() == ["0", "True"], outcome.stderr + said
    assert said.split() == ["inner", "0", "True"]


def test_its_members_are_known_by_its_folder(vm: Sandbox, tmp_path: Path) -> None:
    assert sandbox.members(tmp_path / "vm") == ()
    child = vm.spawn(["sh", "-c", "env -i sleep 1000 & wait"], ENV, tmp_path, tmp_path / "log")
    assert sandbox.pid_of(child.pidfd) in sandbox.members(tmp_path / "vm")
    child.close()
    assert sandbox.members(tmp_path / "nothing") == ()


def test_a_frozen_one_is_found_by_who_listens(tmp_path: Path) -> None:
    frozen = Sandbox.start("frozen", tmp_path, bound=True)
    os.kill(frozen.pid, signal.SIGSTOP)
    with pytest.raises(WorldError, match="did not answer in time"):
        Sandbox.attach(tmp_path, 0.05)
    handle = sandbox.listener_in(tmp_path)
    assert handle is not None
    sandbox.kill(handle)
    assert frozen.wait_gone(LIMIT_S)
    os.close(handle)
    frozen.close()
