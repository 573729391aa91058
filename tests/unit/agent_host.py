"""A host for tests: a real agent with real sandboxes, in a network namespace of its own that ends with the test."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from holdfast.drivers.namespaces import inside, new_namespace
from holdfast.drivers.netlink import Netlink
from holdfast.model.actions import AgentAction, StartVm, StartVnfc
from holdfast.model.events import ActionDone, Event
from holdfast.model.layout import Check, Component, Group, Host, Layout, Operation, Service, Vm, Vnf, Vnfc
from holdfast.model.names import (
    ActionId,
    GroupName,
    HostName,
    Redundancy,
    ServiceName,
    VmName,
    VnfcName,
    VnfmName,
    VnfName,
)
from holdfast.runtime.agent import Agent, Outcome
from holdfast.runtime.folder import RunFolder

HOST, VM, VNFC, SERVICE, GROUP = HostName("h1"), VmName("vm-1"), VnfcName("fun-1"), ServiceName("fun"), GroupName("fun")
GROUP_OF = (VNFC, *(VnfcName(f"fun-{number}") for number in (2, 3, 4)))
ADDRESS = "10.77.0.100/24"
LIMIT_S = 60.0
SHORT_S = 0.3
"""The limit of what does not come. What does come has far more than it needs, on a busy machine."""
FOREVER = ("sleep", "1000")
Found = TypeVar("Found", bound=Event)

SPEAKER = """
import os, socket, sys
sock = socket.socket(socket.AF_UNIX)
sock.connect(os.environ["HOLDFAST_SOCKET"])
sock.sendall(b"hello version=1 name=%s position=3:14\\n" % os.environ["HOLDFAST_VNFC"].encode())
for line in sock.makefile("r"):
    print("heard", line.strip(), flush=True)
    number, _, word = line.strip().partition(" ")
    if number.startswith("@"):
        BEFORE
        sock.sendall(f"{number} ok position=3:15\\n".encode())
        AFTER
    if word == "stop":
        sys.exit(0)
"""
"""A component that speaks: tells its position, answers everything well."""


def speaker(before: str = "pass", after: str = "pass") -> dict[str, str]:
    return {"speaker.py": SPEAKER.replace("BEFORE", before).replace("AFTER", after)}


SPEAK = Operation(("${python}", "-I", "-S", "${dir}/speaker.py"))


def component(**changes: object) -> Component:
    limits = {"start_limit_s": 20.0, "role_limit_s": 20.0, "cleanup_limit_s": 10.0}
    given: dict[str, object] = {"start": Operation(FOREVER), **limits, **changes}
    return Component(name="fun", vnf=VnfName("fun"), group=GROUP, **given)  # type: ignore[arg-type]


def layout_of(
    what: Component, *, in_vm: bool = True, redundancy: Redundancy = "2N", service: Service | None = None
) -> Layout:
    """One host, one VM (or none), one VNFC of this component."""
    service = service or Service(SERVICE, GROUP, ADDRESS)
    vm = VM if in_vm else None
    return Layout(
        name="test",
        hosts={HOST: Host(HOST, ("10.77.0.1/24",))},
        vms={VM: Vm(VM, HOST, ("10.77.0.11/24",))} if in_vm else {},
        vnfs={VnfName("fun"): Vnf(VnfName("fun"), VnfmName("vnfm"), 1, True, (GROUP,))},
        components={GROUP: what},
        groups={
            GROUP: Group(
                GROUP,
                VnfName("fun"),
                "fun",
                redundancy,
                "standby",
                "none",
                (SERVICE,),
                GROUP_OF,
            )
        },
        services={SERVICE: service},
        vnfcs={VNFC: Vnfc(VNFC, VnfName("fun"), "fun", GROUP, HOST, vm)},
    )


def process_check() -> Check:
    return Check(kind="process")


@dataclass
class HostUnderTest:
    """The agent and what it has said."""

    layout: Layout
    folder: RunFolder
    agent: Agent = field(init=False)
    events: list[Event] = field(default_factory=list)
    marks: list[tuple[str, str, str]] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _number: int = 0

    def __post_init__(self) -> None:
        self.new_agent()

    def new_agent(self) -> None:
        """An agent that knows nothing yet."""
        self.agent = Agent(self.layout, HOST, self.folder, self._emitted, self._marked)

    def _emitted(self, event: Event) -> None:
        self.events.append(event)
        self._news.set()

    def _marked(self, name: str, about: str, detail: str) -> None:
        self.marks.append((name, about, detail))
        self._news.set()

    def id(self) -> ActionId:
        self._number += 1
        return ActionId(f"test/{self._number}")

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until it holds, looked at after each event and mark."""
        while not holds():
            self._news.clear()
            await self._news.wait()

    async def event(self, kind: type[Found]) -> Found:
        """The last event of this kind, waited for if there is none."""
        await self.until(lambda: any(isinstance(event, kind) for event in self.events))
        return [event for event in self.events if isinstance(event, kind)][-1]

    def marked(self, name: str) -> list[str]:
        return [detail for mark, _about, detail in self.marks if mark == name]

    async def done(self, action: AgentAction) -> ActionDone:
        outcome = await self.agent.perform(action)
        assert isinstance(outcome, ActionDone), outcome
        return outcome

    async def booted(self) -> None:
        await self.done(StartVm(self.id(), VM, 1))

    async def started(self, run: int = 1, service: ServiceName | None = None) -> Outcome:
        """Boot the VM, if there is one, and start the VNFC."""
        if self.layout.vms and not any(vm.condition == "up" for vm in self.agent.facts().vms):
            await self.booted()
        return await self.done(StartVnfc(self.id(), VNFC, run, 3, service))

    def log(self) -> str:
        return self.folder.log(f"vnfc-{VNFC}").read_text()


def on_host(layout: Layout, folder: Path, test: Callable[[HostUnderTest], Awaitable[None]]) -> None:
    """Run the test on a fresh host, and take everything of the host away behind it."""

    async def all_of_it() -> None:
        host = HostUnderTest(layout, RunFolder(folder))
        await host.agent.open()
        try:
            async with asyncio.timeout(LIMIT_S):
                await test(host)
        finally:
            await host.agent.close(end_all=True)

    def in_namespace() -> None:
        with Netlink.open() as netlink:
            netlink.up("lo")
        asyncio.run(all_of_it())

    namespace = new_namespace()
    try:
        inside(namespace, in_namespace)
    finally:
        os.close(namespace)


def processes_with(text: str) -> list[int]:
    """Processes of this machine whose environment names the VNFC's folder, or whose command line does."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            about = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if text.encode() in about:
            found.append(int(entry.name))
    return found
