"""A deployment on this machine: `up` starts one, `down` ends one, whatever has become of it meanwhile.

In:   a layout, or the name of a deployment.
Out:  a run folder with everything running; or none, and nothing of it left on the machine, confirmed.
Always: the folder is locked from the first moment of `up` to the end of the supervisor, so two `up` of one name
cannot both start; an interrupted `up` ends what it has begun.
"""

import asyncio
import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from holdfast.drivers.files import last_line
from holdfast.drivers.nft import Nft
from holdfast.drivers.sandbox import listener_in
from holdfast.errors import HoldfastError, PeerError, UserError, WorldError
from holdfast.model.layout import Layout
from holdfast.model.limits import END_LIMIT_S, UP_MARGIN_S
from holdfast.model.names import HostName, Party, ServiceName, agent_party
from holdfast.model.reading import UNREADABLE
from holdfast.model.records import Ended
from holdfast.runtime import processes
from holdfast.runtime.folder import RunFolder, default_base
from holdfast.runtime.given import load_layout, parties_of
from holdfast.runtime.machine import check_machine, check_one_host
from holdfast.runtime.neighbours import refuse_clash
from holdfast.runtime.outside import ask
from holdfast.store.journal import read
from holdfast.wire.link_messages import AskStatus

Progress = Callable[[str], None]
_LOCK = "lock"
_ENDED = ".ended"
_KEPT_AFTER = ("layout.json", "journal", "log")
_POLL_S = 0.02
_STEADY_S = 0.3
"""How long all services must stay with the same VNFCs before `up` believes it: some end right after their start."""
_REFUSALS = 3
"""How often an agent or manager may end with `wrong input` or `the machine lacks something` before `up` gives up."""
_HELD_S = 1.0
"""How long services may be held (nothing will be done for them by itself) before `up` gives up."""


def prepare(layout: Layout, folder: RunFolder) -> None:
    """Make a run folder with all that agents and managers need; its own user alone may read it."""
    folder.root.mkdir(parents=True, exist_ok=True)
    folder.root.chmod(0o711)  # Components that give up root must reach their own folder.
    for inner in (folder.root / "journal", folder.root / "log", folder.root / "state"):
        inner.mkdir(exist_ok=True, mode=0o700)
    folder.layout.write_bytes(msgspec.json.encode(layout))
    descriptor = os.open(folder.key, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as key:
        key.write(os.urandom(32))


def deployments() -> list[str]:
    """Names of the deployments on this machine, running or left over."""
    return sorted(path.parent.name for path in default_base().glob("*/layout.json") if path.parent.suffix != _ENDED)


def folder_of(name: str | None) -> RunFolder:
    """The run folder of a deployment; without a name, of the only one there is."""
    known = deployments()
    if name is None:
        if len(known) == 1:
            return RunFolder(default_base() / known[0])
        if not known:
            raise UserError("no deployment is running here", "start one with `holdfast up FILE`")
        raise UserError("several deployments are running here", f"give one of their names: {', '.join(known)}")
    if name not in known:
        raise UserError(
            f"there is no deployment {name} here",
            f"there is: {', '.join(known)}" if known else "start one with `holdfast up FILE`",
        )
    return RunFolder(default_base() / name)


def is_running(folder: RunFolder) -> bool:
    """Whether somebody (an `up` or its supervisor) holds the folder."""
    try:
        handle = os.open(folder.root / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _refuse_second(folder: RunFolder) -> None:
    if not folder.root.exists():
        return
    name = folder.root.name
    if is_running(folder):
        raise UserError(f"{name} is already running", f"end it first: holdfast down {name}")
    raise UserError(
        f"an earlier run of {name} was not ended in order; its folder is {folder.root}",
        f"clean up with: holdfast down {name}",
    )


def _locked(folder: RunFolder) -> int:
    """Make the run folder with its lock held; the folder is never to be seen without."""
    fresh = folder.root.with_name(f".{folder.root.name}-{os.getpid()}")
    try:
        fresh.mkdir(parents=True)
    except OSError as error:
        raise UserError(f"{fresh} cannot be made: {error.strerror}", "set HOLDFAST_RUN to another folder") from error
    handle = os.open(fresh / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        fresh.rename(folder.root)
    except OSError:
        os.close(handle)
        shutil.rmtree(fresh)
        _refuse_second(folder)
        raise
    return handle


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Two `up` look at the machine one after the other, or both would find the same bridge free."""
    base = default_base()
    try:
        base.mkdir(parents=True, exist_ok=True)
        handle = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise UserError(
            f"the folder of run folders {base} cannot be used: {(error.strerror or str(error)).lower()}",
            "run as root, or set HOLDFAST_RUN to a folder of your own",
        ) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _refuse_clashes(layout: Layout, folder: RunFolder) -> None:
    """Others of this machine, also one that is just being started, want nothing of what this one wants."""
    others = [RunFolder(default_base() / name) for name in deployments() if name != folder.root.name]
    made = {marker.read_text() for other in others for marker in other.root.glob("bridge-*")}
    present = {name for _, name in socket.if_nameindex()} - made
    for other in others:
        if is_running(other):
            refuse_clash(layout, load_layout(other), frozenset(present))


def up(layout: Layout, folder: RunFolder, managers: str, progress: Progress) -> float:
    """Start the layout here and wait until all its services are provided; answer the seconds it took.

    Raises:
        UserError, MachineLacks: it cannot run here; nothing was started.
        WorldError: it did not come up; `PeerError`s of a start-up are waited over.
    """
    check_one_host(layout)  # First: hints about an earlier run are of no use where `up` is the wrong command.
    begun = time.monotonic()
    progress("looking whether this machine has what is needed")
    with _one_at_a_time():
        _refuse_second(folder)
        _refuse_clashes(layout, folder)
        check_machine(layout, folder)
        lock = _locked(folder)
        folder.layout.write_bytes(msgspec.json.encode(layout))  # From here on others see what is taken.
    try:
        prepare(layout, folder)
        progress("starting")
        supervisor = _start_supervisor(folder, managers, lock)
        provided_at = _wait_provided(layout, folder, supervisor, progress)
    except BaseException:
        progress("ending what was begun")
        os.close(lock)
        with suppress(HoldfastError):
            down(folder, progress)
        raise
    os.close(lock)
    return provided_at - begun


def _start_supervisor(folder: RunFolder, managers: str, lock: int) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-m",
        "holdfast.runtime.supervisor",
        "--folder",
        str(folder.root),
        "--managers",
        managers,
    ]
    with folder.log("supervisor").open("ab") as output:
        # The lock goes to the supervisor, and is free when that has ended, in whatever way.
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=[lock],
            cwd="/",
        )


def _wait_provided(
    layout: Layout, folder: RunFolder, supervisor: "subprocess.Popen[bytes]", progress: Progress
) -> float:
    """Wait until all services are provided and stay so; answers since when."""
    boot = max((vm.boot_limit_s for vm in layout.vms.values()), default=0.0)
    starts = sum(component.start_limit_s for component in layout.components.values())
    limit = time.monotonic() + boot + starts + UP_MARGIN_S
    told = ""
    steady: tuple[dict[ServiceName, Any], float] = ({}, 0.0)
    free_at = time.monotonic()
    while True:
        if supervisor.poll() is not None:
            said = _last_lines(folder.log("supervisor")) or f"status {supervisor.returncode}, without a word"
            raise WorldError(f"the supervisor has ended: {said}", f"see {folder.root}{_ENDED}/log")
        if refused := refused_to_start(folder):
            raise WorldError(refused, f"see {folder.root}{_ENDED}/log")
        services, now = _services(layout, folder), time.monotonic()
        missing = [name for name in layout.services if services.get(name, {}).get("state") != "provided"]
        if not missing:
            holders = {name: (services[name]["vnfc"], services[name]["epoch"]) for name in layout.services}
            if holders != steady[0]:
                steady = (holders, now)
            elif now - steady[1] >= _STEADY_S:
                return steady[1]
        elif (text := f"waiting for {', '.join(missing)}") != told:
            progress(told := text)
        if not all(services.get(name, {}).get("state") == "held" for name in missing or layout.services):
            free_at = now
        if now > limit or now - free_at > _HELD_S:
            raise WorldError(
                f"not provided{' in time' if now > limit else ''}: {', '.join(missing or layout.services)}; "
                f"{_troubles(layout, folder, missing)}",
                f"see {folder.root}{_ENDED}/log, and: holdfast why --name {folder.root.name}",
            )
        time.sleep(_POLL_S)


def statuses(layout: Layout, folder: RunFolder, limit_s: float = 1.0) -> dict[Party, dict[str, Any]]:
    """What each manager answers to AskStatus; one that is away answers nothing and is marked so."""
    answers: dict[Party, dict[str, Any]] = {}
    for party in parties_of(layout):
        try:
            answers[party] = msgspec.json.decode(ask(folder, party, AskStatus(), limit_s).content)
        except PeerError as error:
            answers[party] = {"party": party, "away": error.message}
        except UNREADABLE as error:
            answers[party] = {"party": party, "away": f"its answer cannot be read: {error}"}
        except OSError as error:
            raise UserError(f"the key of {folder.root} cannot be read: {error.strerror}", "run as its owner") from error
    return answers


def nobody_answers(layout: Layout, folder: RunFolder) -> WorldError:
    """What to say when no manager here answers a question."""
    name = folder.root.name
    if len(layout.hosts) > 1:
        return WorldError(
            f"no manager of {name} leads on this host; the services go on without one",
            f"ask on {', '.join(layout.hosts)} in turn; if none leads anywhere: journalctl -u holdfast-manager@{name}",
        )
    lost = "the service goes on" if is_running(folder) else "its supervisor is gone, too"
    return WorldError(f"no manager of {name} answers; {lost}", "see holdfast down, or wait a moment")


def refused_to_start(folder: RunFolder) -> str:
    """What a process said that ends again and again because something is wrong with its input or this machine."""
    ends = [line.split()[1] for line in _lines(folder.log("supervisor")) if re.search(r" has ended \([23]\), ", line)]
    name = next((name for name in ends if ends.count(name) >= _REFUSALS), None)
    return "" if name is None else f"{name} cannot start: {_last_lines(folder.log(name.replace(':', '-')))}"


def _services(layout: Layout, folder: RunFolder) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for status in statuses(layout, folder).values():
        for vnf in status.get("vnfs", {}).values():
            found |= vnf["services"]
    return found


def _troubles(layout: Layout, folder: RunFolder, missing: list[ServiceName]) -> str:
    """Alarms, and what went wrong last with the VNFCs of the missing services; else what the supervisor says."""
    found = [text for status in statuses(layout, folder).values() for text in status.get("alarms", {}).values()]
    failed = {
        record.about: record.detail
        for host in layout.hosts
        for record in read(folder.journal(agent_party(host)), tell=lambda broken: None)
        if isinstance(record, Ended) and not record.ok
    }
    for name in missing:
        for vnfc in layout.groups[layout.services[name].group].vnfcs:
            if why := failed.get(vnfc) or last_line(folder.log(f"vnfc-{vnfc}")):
                found.append(f"{vnfc}: {why}")
    return "; ".join(found) or _last_lines(folder.log("supervisor"))


def _lines(log: Path) -> list[str]:
    try:
        return log.read_text(errors="replace").strip().splitlines()
    except OSError:
        return []


def _last_lines(log: Path) -> str:
    return " / ".join(dict.fromkeys(_lines(log)[-4:]))


def down(folder: RunFolder, progress: Progress) -> None:
    """End a deployment, in order if its supervisor lives, else by what is known of it; confirm that nothing is left.

    Raises:
        WorldError: something of it would not go; the message names it.
    """
    listed = processes.read_lists(folder)
    _refuse_several(folder, listed)
    for name, process in listed.items():
        if name.startswith("supervisor") and processes.is_alive(process):
            progress("ending managers, components and VMs")
            processes.end(process, END_LIMIT_S + 5.0)
    listed |= processes.read_lists(folder)
    for name in sorted(listed, key=lambda name: name.startswith("agent:")):
        if processes.is_alive(listed[name]):
            progress(f"ending {name}, which lost its supervisor")
            processes.end(listed[name], 3.0)
    layout = _layout_if_any(folder)
    if layout is not None and traces(layout, folder):
        progress("ending what an agent left behind")
        asyncio.run(_sweep(layout, folder))
    left = [f"process {name} ({process.pid})" for name, process in listed.items() if processes.is_alive(process)]
    left += traces(layout, folder) if layout is not None else []
    if left:
        raise WorldError(f"still there: {', '.join(left)}", f"see {folder.root}/log, and run `holdfast down` again")
    _put_away(folder)


def _refuse_several(folder: RunFolder, listed: Mapping[str, processes.Process]) -> None:
    layout = _layout_if_any(folder)
    if layout is not None and len(layout.hosts) > 1 and not listed:
        raise UserError(
            f"{layout.name} runs on several hosts, of which this is one",
            f"stop its services here, then: holdfast agent --folder {folder.root} --host NAME --end",
        )


def _layout_if_any(folder: RunFolder) -> Layout | None:
    return load_layout(folder) if folder.layout.exists() else None


async def _sweep(layout: Layout, folder: RunFolder) -> None:
    """Adopt what is left as an agent would, and end it as an agent would."""
    from holdfast.runtime.agent import Agent

    for host in layout.hosts:
        agent = Agent(layout, HostName(host), folder, lambda _: None, lambda *_: None)
        await agent.open()
        await agent.close(end_all=True)


def traces(layout: Layout, folder: RunFolder) -> list[str]:
    """What of the deployment is still on the machine: first processes of VMs and VNFCs, bridges, gates."""
    found = []
    for vm in layout.vms:
        found += _living(f"VM {vm}", folder.vm(vm))
    for vnfc in layout.vnfcs:
        found += _living(f"VNFC {vnfc}", folder.vnfc(vnfc))
    for host in layout.hosts.values():
        if folder.made_bridge(host.name).exists():
            found.append(f"bridge {host.bridge}")
    return found + _gates(layout)


def _living(what: str, folder: Path) -> list[str]:
    found = []
    for socket_file in sorted(folder.rglob("init.sock")) if folder.exists() else []:
        handle = listener_in(socket_file.parent)
        if handle is not None:
            os.close(handle)
            found.append(what)
    return found


def _gates(layout: Layout) -> list[str]:
    if os.geteuid() != 0:
        return []
    prefix = "holdfast_" + "".join(sign if sign.isalnum() or sign == "_" else "_" for sign in f"{layout.name}_")
    with Nft() as nft:
        names = [entry["table"]["name"] for entry in nft.ask("list tables") if "table" in entry]
    hosts = {prefix + "".join(sign if sign.isalnum() or sign == "_" else "_" for sign in host) for host in layout.hosts}
    return [f"nftables table {name}" for name in names if name in hosts]


def _put_away(folder: RunFolder) -> None:
    """Keep journal and logs of the last run beside it (for `why`), remove the rest, disks included."""
    ended = folder.root.with_name(folder.root.name + _ENDED)
    shutil.rmtree(ended, ignore_errors=True)
    if folder.layout.exists():
        ended.mkdir(mode=0o700)
        for name in _KEPT_AFTER:
            if (folder.root / name).exists():
                (folder.root / name).rename(ended / name)
    shutil.rmtree(folder.root)


def ended_folder(name: str) -> RunFolder | None:
    """Where the journal of the last run is, if it has been ended."""
    ended = default_base() / f"{name}{_ENDED}"
    return RunFolder(ended) if ended.exists() else None


def interrupt_on_sigterm() -> None:
    """Let SIGTERM end a command as Ctrl-C does: in order."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
