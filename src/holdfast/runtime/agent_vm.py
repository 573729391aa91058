"""One VM of this host: its present boot, if any.

In: start and isolate. Out: VmBooted, VmDied. What always holds: when the VM's first process is gone, its port is
cut before anybody is told (and removed right after); a VM that was asked to end is not reported as dead.
"""

import asyncio
from collections.abc import Callable

from holdfast.errors import HoldfastError, WorldError
from holdfast.model.events import Event, VmBooted, VmDied, VmFact
from holdfast.model.layout import Vm
from holdfast.runtime.agent_network import HostNetwork, Mark
from holdfast.runtime.folder import RunFolder
from holdfast.runtime.premises import Handle, Keeper, Premises, end, over_within


class VmOnHost:
    """Starts, watches and ends the sandbox of one VM."""

    def __init__(
        self,
        vm: Vm,
        folder: RunFolder,
        network: HostNetwork,
        emit: Callable[[Event], None],
        mark: Mark,
        premises: Premises,
    ) -> None:
        self.vm = vm
        self.boot = 0
        self.keeper: Keeper | None = None
        self._folder = folder
        self._network = network
        self._emit = emit
        self._mark = mark
        self._premises = premises
        self._watched: Handle | None = None
        self._is_up = False
        self._end_is_wanted = False
        self._removals: dict[asyncio.Task[None], None] = {}

    @property
    def is_gone(self) -> bool:
        """Whether nothing of it runs and nothing of it can be heard (looked at now, not remembered)."""
        lives = self.keeper is not None and not self.keeper.handle.is_gone
        return not lives and not self._network.is_reachable(self.vm.name)

    @property
    def is_up(self) -> bool:
        """Whether VNFCs can be started in it."""
        return self._is_up and self.keeper is not None and not self.keeper.handle.is_gone

    @property
    def is_ending(self) -> bool:
        """Whether its end has begun, or is over: then the end of what is in it proves nothing of this alone."""
        return self.keeper is None or self.keeper.handle.is_dying

    def look(self) -> None:
        """Take note of its end now, if the loop has not come to it yet."""
        if self.keeper is not None and self.keeper.handle.is_gone:
            self._died()

    async def see_it_through(self) -> None:
        """If it has begun to end, wait until it has.

        When a VM is killed, the processes in it end before its first one does: whoever cleans one of them up in that
        moment must not take it for a failure of that process alone.
        """
        if self.keeper is not None and self.keeper.handle.is_dying:
            handle = self.keeper.handle.copy()
            try:
                await over_within(handle, self.vm.isolate_limit_s)
            finally:
                handle.close()
            self.look()

    def fact(self) -> VmFact:
        return VmFact(self.vm.name, self.boot, "up" if self.is_up else "absent")

    async def adopt(self) -> None:
        """Take over what an earlier agent left behind: the running VM, or the port of one that is gone."""
        folder = self._folder.vm(self.vm.name)
        try:
            keeper = await self._premises.reach(folder)
        except WorldError as error:
            self._mark("vm-does-not-answer", self.vm.name, error.message)
            await self._premises.end_unreachable(folder, self.vm.isolate_limit_s)
            keeper = None
        if keeper is None or "boot" not in keeper.notes:
            if keeper is not None:  # its start was cut off
                await end(keeper, self.vm.isolate_limit_s)
                keeper.close()
            await self._network.detach(self.vm.name)
            return
        self._take_up(keeper, int(keeper.notes["boot"]))
        await self._network.adopt(self.vm.name, keeper.handle)
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
        keeper = await self._premises.start_vm(self.vm.name, folder, self._folder.root, self.vm.boot_limit_s)
        self._take_up(keeper, boot)
        await self._network.attach(self.vm.name, keeper.handle)
        await keeper.note(boot=boot)
        self._is_up = True

    def _take_up(self, keeper: Keeper, boot: int) -> None:
        for child in keeper.take_found():
            child.close()
        self.boot = boot
        self.keeper = keeper
        self._end_is_wanted = False
        self._watched = keeper.handle.copy()
        self._watched.when_over(self._died)

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
        self._removals[removal] = None
        removal.add_done_callback(self._removals.pop)

    async def _remove_port(self) -> None:
        try:
            await self._network.detach(self.vm.name)
            self._mark("port-removed", self.vm.name, "")
        except HoldfastError as error:
            self._mark("port-not-removed", self.vm.name, error.message)

    def _let_go(self) -> None:
        if self._watched is not None:
            self._watched.close()
            self._watched = None
        if self.keeper is not None:
            self.keeper.close()
            self.keeper = None

    async def isolate(self) -> None:
        """End it. On return its processes and its port are gone; HoldfastError when that cannot be confirmed."""
        self._end_is_wanted = True
        self._is_up = False
        self._network.cut(self.vm.name)
        if self.keeper is not None:
            handle = self.keeper.handle.copy()
            try:
                handle.kill()
                if not await over_within(handle, self.vm.isolate_limit_s):
                    raise WorldError(f"VM {self.vm.name} has not ended within {self.vm.isolate_limit_s:g} s of SIGKILL")
            finally:
                handle.close()
        self._let_go()
        await asyncio.gather(*self._removals)
        await self._network.detach(self.vm.name)

    async def close(self) -> None:
        """Let go of it; ends nothing."""
        self._let_go()
        await asyncio.gather(*self._removals)
