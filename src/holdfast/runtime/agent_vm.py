"""One VM of this host: its present boot, if any.

In: start and isolate. Out: VmBooted, VmDied. What always holds: when the VM's first process is gone, its port is
cut before anybody is told (and removed right after); a VM that was asked to end is not reported as dead.
"""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from holdfast.detect.death import DeathWatch
from holdfast.drivers import sandbox
from holdfast.drivers.process import Keeper, over_within
from holdfast.errors import HoldfastError, WorldError
from holdfast.model.events import Event, VmBooted, VmDied, VmFact
from holdfast.model.layout import Vm
from holdfast.runtime.agent_network import HostNetwork, Mark
from holdfast.runtime.folder import RunFolder


class VmOnHost:
    """Starts, watches and ends the sandbox of one VM."""

    def __init__(
        self, vm: Vm, folder: RunFolder, network: HostNetwork, emit: Callable[[Event], None], mark: Mark
    ) -> None:
        self.vm = vm
        self.boot = 0
        self.keeper: Keeper | None = None
        self._folder = folder
        self._network = network
        self._emit = emit
        self._mark = mark
        self._watch: DeathWatch | None = None
        self._is_up = False
        self._end_is_wanted = False
        self._removals: set[asyncio.Task[None]] = set()

    @property
    def is_gone(self) -> bool:
        """Whether nothing of it runs and nothing of it can be heard (looked at now, not remembered)."""
        lives = self.keeper is not None and not sandbox.gone(self.keeper.pidfd)
        return not lives and not self._network.is_reachable(self.vm.name)

    @property
    def is_up(self) -> bool:
        """Whether VNFCs can be started in it."""
        return self._is_up and self.keeper is not None and not sandbox.gone(self.keeper.pidfd)

    def look(self) -> None:
        """Take note of its end now, if the loop has not come to it yet."""
        if self.keeper is not None and sandbox.gone(self.keeper.pidfd):
            self._died()

    async def see_it_through(self) -> None:
        """If it has begun to end, wait until it has.

        When a VM is killed, the processes in it end before its first one does: whoever cleans one of them up in that
        moment must not take it for a failure of that process alone.
        """
        if self.keeper is not None and sandbox.is_dying(self.keeper.pidfd):
            handle = os.dup(self.keeper.pidfd)
            try:
                await over_within(handle, self.vm.isolate_limit_s)
            finally:
                os.close(handle)
            self.look()

    def fact(self) -> VmFact:
        return VmFact(self.vm.name, self.boot, "up" if self.is_up else "absent")

    async def adopt(self) -> None:
        """Take over what an earlier agent left behind: the running VM, or the port of one that is gone."""
        folder = self._folder.vm(self.vm.name)
        try:
            keeper = await Keeper.reach(folder)
        except WorldError as error:
            self._mark("vm-does-not-answer", self.vm.name, error.message)
            await end_unreachable(folder, self.vm.isolate_limit_s)
            keeper = None
        if keeper is None or "boot" not in keeper.notes:
            if keeper is not None:  # its start was cut off
                await keeper.end(self.vm.isolate_limit_s)
                keeper.close()
            await self._network.detach(self.vm.name)
            return
        self._take_up(keeper, int(keeper.notes["boot"]))
        netns_fd = namespace_of(keeper)
        try:
            await self._network.adopt(self.vm.name, netns_fd)
        finally:
            os.close(netns_fd)
        self._is_up = True
        self._mark("vm-adopted", self.vm.name, f"boot {self.boot}")

    async def start(self, boot: int) -> None:
        """Boot it; HoldfastError when that did not succeed, and then nothing of it is left."""
        if self.is_up and self.boot == boot:
            self._emit(VmBooted(self.vm.name, boot))
            return
        await self.isolate()
        try:
            async with asyncio.timeout(self.vm.boot_limit_s):
                await self._boot(boot)
        except TimeoutError:
            await self.isolate()
            raise WorldError(f"VM {self.vm.name} was not up within {self.vm.boot_limit_s:g} s") from None
        except BaseException:
            await self.isolate()
            raise
        self._emit(VmBooted(self.vm.name, boot))

    async def _boot(self, boot: int) -> None:
        folder = self._folder.vm(self.vm.name)
        keeper = await Keeper.start(
            self.vm.name,
            folder,
            namespaces=sandbox.VM,
            own_run=True,
            keep=[self._folder.root],
            limit_s=self.vm.boot_limit_s,
        )
        self._take_up(keeper, boot)
        netns_fd = namespace_of(keeper)
        try:
            await self._network.attach(self.vm.name, netns_fd)
        finally:
            os.close(netns_fd)
        await keeper.note(boot=boot)
        self._is_up = True

    def _take_up(self, keeper: Keeper, boot: int) -> None:
        for child in keeper.found:
            child.close()
        keeper.found = ()
        self.boot = boot
        self.keeper = keeper
        self._end_is_wanted = False
        self._watch = DeathWatch(os.dup(keeper.pidfd), self._died)

    def _died(self) -> None:
        """Its first process is gone: the port is cut at once, then the news, then the port is removed."""
        was_up, self._is_up = self._is_up, False
        try:
            self._network.cut(self.vm.name)
        except HoldfastError as error:
            self._mark("port-not-cut", self.vm.name, error.message)
        self._let_go()
        if was_up and not self._end_is_wanted:
            self._emit(VmDied(self.vm.name, self.boot, "its first process ended"))
        removal = asyncio.create_task(self._remove_port())
        self._removals.add(removal)
        removal.add_done_callback(self._removals.discard)

    async def _remove_port(self) -> None:
        try:
            await self._network.detach(self.vm.name)
            self._mark("port-removed", self.vm.name, "")
        except HoldfastError as error:
            self._mark("port-not-removed", self.vm.name, error.message)

    def _let_go(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        if self.keeper is not None:
            self.keeper.close()
            self.keeper = None

    async def isolate(self) -> None:
        """End it. On return its processes and its port are gone; HoldfastError when that cannot be confirmed."""
        self._end_is_wanted = True
        self._is_up = False
        self._network.cut(self.vm.name)
        if self.keeper is not None:
            handle = os.dup(self.keeper.pidfd)
            try:
                sandbox.kill(handle)
                if not await over_within(handle, self.vm.isolate_limit_s):
                    raise WorldError(f"VM {self.vm.name} has not ended within {self.vm.isolate_limit_s:g} s of SIGKILL")
            finally:
                os.close(handle)
        self._let_go()
        await asyncio.gather(*self._removals)
        await self._network.detach(self.vm.name)

    async def close(self) -> None:
        """Let go of it; ends nothing."""
        self._let_go()
        await asyncio.gather(*self._removals)


def namespace_of(keeper: Keeper) -> int:
    """A new descriptor of the network namespace that the keeper is in."""
    try:
        return os.open(f"/proc/{sandbox.pid_of(keeper.pidfd)}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise WorldError(f"{keeper.name} is gone") from error


async def end_unreachable(folder: Path, limit_s: float) -> None:
    """End a first process that holds its socket but does not answer: found by who listens there."""
    handle = sandbox.listener_in(folder)
    if handle is None:
        return
    try:
        sandbox.kill(handle)
        await over_within(handle, limit_s)
    finally:
        os.close(handle)
