"""The capsule of one run of a VNFC: a PID namespace that holds all its processes, and the commands run among them.

In: what the component's descriptor says about starting, stopping and asking it. Out: effects, exit statuses in words,
and a call for each *root* that ends. Roots are the processes the run stands on: the started program itself, or
what an OCF agent's start left behind. Ending the capsule ends everything in it, confirmed.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from holdfast.drivers import ocf
from holdfast.drivers.files import fill_in
from holdfast.drivers.process import Surroundings
from holdfast.errors import WorldError
from holdfast.model.layout import Component, Operation
from holdfast.model.processor import ProcessorUse, together
from holdfast.runtime import premises
from holdfast.runtime.agent_setting import Setting
from holdfast.runtime.agent_vm import VmOnHost
from holdfast.runtime.premises import Child, Disk, Handle, Keeper, Premises

FIRST_PIDS = 30_000
PIDS_A_RUN = 1_000
WHOLE = 1
"""Process 1 of the capsule: watched in place of roots where a start leaves none."""


class Capsule:
    """Lives as long as the run; outlives its agent."""

    def __init__(
        self, keeper: Keeper, component: Component, setting: Setting, disk: Disk, root_ended: Callable[[int], None]
    ) -> None:
        self._keeper = keeper
        self._disk = disk
        self._component = component
        self._setting = setting
        self._root_ended = root_ended
        self._roots: dict[int, Handle] = {}

    @classmethod
    async def make(
        cls,
        component: Component,
        setting: Setting,
        run: int,
        vm: VmOnHost | None,
        here: Premises,
        root_ended: Callable[[int], None],
    ) -> "Capsule":
        """An empty one, in the VM or (None) on the host itself."""
        here.disk.make_folder(setting.around.log.parent)
        here.disk.make_folder(setting.folder)
        name = setting.vnfc.name
        first_pid = PIDS_A_RUN * (1 + run % (FIRST_PIDS // PIDS_A_RUN))
        if vm is None:
            keeper = await here.start_capsule(name, setting.folder, first_pid)
        else:
            vm.look()
            if vm.keeper is None or not vm.is_up:
                raise WorldError(f"VM {vm.vm.name} is not up")
            keeper = await vm.keeper.enclose(name, setting.folder, first_pid)
        return cls(keeper, component, setting, here.disk, root_ended)

    @property
    def is_over(self) -> bool:
        return self._keeper.handle.is_gone

    @property
    def is_ending(self) -> bool:
        """It ends, or has ended, as a whole."""
        return self._keeper.handle.is_dying

    @property
    def roots(self) -> list[int]:
        return list(self._roots)

    def processor(self) -> ProcessorUse | None:
        """What its roots have had of the processor, together."""
        return together(use for handle in self._roots.values() if (use := handle.processor) is not None)

    def holds(self, pid: int) -> bool:
        """Whether the process of this number (as we see it) lives in here."""
        return self._keeper.holds(pid)

    def surround(self, setting: Setting) -> None:
        """From now on commands find this around them."""
        self._setting = setting

    # --- starting

    async def bring_up(self) -> None:
        """Write the component's files and start it."""
        setting, component = self._setting, self._component
        if component.storage == "yes":
            self._disk.make_folder(Path(setting.values["storage"]))
        self._disk.write_files(setting.folder, component.files, setting.values)
        if component.ocf is not None:
            await self.ask_ocf("start", component.start_limit_s)
            roots = await self._keeper.children()
            if not roots and all(check.kind == "process" for check in component.checks):
                raise WorldError("start succeeded, but left no process behind and no other check is declared")
            self.watch(roots)
        elif component.start is not None:
            words = setting.words(component.start.command)
            self.watch([await self._keeper.spawn(words, setting.around, "main")])
        else:
            raise WorldError(f"nothing says how component {component.name} is started")

    def watch(self, roots: Iterable[Child]) -> None:
        """From now on the end of each of these is called out."""
        for child in roots:
            self._watch(child.pid, child.handle)
        if not self._roots:
            self._watch(WHOLE, self._keeper.handle.copy())

    def _watch(self, pid: int, handle: Handle) -> None:
        self._roots[pid] = handle
        handle.when_over(lambda: self._root_ended(pid))

    def forget_root(self, pid: int) -> bool:
        """Drop a root that has ended, if others remain to stand on."""
        if len(self._roots) < 2 or pid not in self._roots:
            return False
        self._roots.pop(pid).close()
        return True

    async def status_of(self, pid: int) -> int | None:
        """How a root ended: as the kernel shows it, or as the first process tells it, if anybody is left who knows."""
        root = self._roots.get(pid)
        seen = root.exit_status if root is not None and not self.is_ending else None
        return seen if seen is not None else await self._keeper.status(pid)

    # --- commands

    async def run(self, command: tuple[str, ...], limit_s: float) -> int:
        """Run a command among the component's processes; its exit status."""
        return await premises.run(self._keeper, self._setting.words(command), self._setting.around, limit_s)

    async def operate(self, operation: Operation, setting: Setting | None = None) -> None:
        """Run a declared command; WorldError unless it succeeds within its limit."""
        setting = setting or self._setting
        words = setting.words(operation.command)
        status = await premises.run(self._keeper, words, setting.around, operation.limit_s)
        if status != 0:
            said = self._disk.last_line(setting.around.log)
            raise WorldError(f"{words[0]} failed with status {status}{said and f'; it said: {said}'}")

    async def ask_ocf(self, action: str, limit_s: float) -> None:
        """Have the OCF agent do something; WorldError unless it reports success."""
        agent, setting = self._component.ocf, self._setting
        if agent is None:
            raise WorldError(f"component {self._component.name} has no OCF agent")
        parameters = {name: fill_in(value, setting.values) for name, value in agent.parameters.items()}
        env = ocf.environment(agent, setting.vnfc.name, parameters, setting.folder, limit_s)
        self._disk.make_folder(setting.folder / "ocf")
        around = Surroundings({**setting.around.env, **env}, setting.around.cwd, setting.around.log)
        status = await premises.run(self._keeper, (str(self._disk.ocf_program(agent)), action), around, limit_s)
        if status != ocf.SUCCESS:
            said = self._disk.last_line(setting.around.log)
            raise WorldError(f"OCF action {action} failed: {ocf.meaning(status)}{said and f'; it said: {said}'}")

    async def note(self, **notes: object) -> None:
        """What the next agent has to know lies with the capsule, and ends with it."""
        await self._keeper.note(roots=self.roots, **notes)

    # --- ending

    def ask_roots_to_end(self) -> None:
        for root in self._roots.values():
            root.ask_to_end()

    async def roots_over_within(self, limit_s: float) -> bool:
        return all([await premises.over_within(root, limit_s) for root in tuple(self._roots.values())])

    def begin_end(self) -> None:
        """Kill everything in it; `end` confirms."""
        self._keeper.handle.kill()

    @property
    def is_empty(self) -> bool:
        """Whether nothing of the run is left but the first process around it, which is none of its own."""
        return self._keeper.is_alone

    async def is_over_within(self, limit_s: float) -> bool:
        return await premises.over_within(self._keeper.handle, limit_s)

    async def end(self, limit_s: float) -> bool:
        """Kill everything in it. True when it is confirmed that nothing is left."""
        return await premises.end(self._keeper, limit_s)

    def close(self) -> None:
        """Let go of it; ends nothing."""
        for root in self._roots.values():
            root.close()
        self._roots.clear()
        self._keeper.close()

    # --- taking over from an earlier agent

    @classmethod
    async def adopt(
        cls, component: Component, setting: Setting, here: Premises, root_ended: Callable[[int], None]
    ) -> tuple["Capsule", dict[str, Any], bool] | None:
        """The one that lives in the folder, its notes, and whether all its roots still live.

        None when there is none. One whose start was cut off, or that does not answer, is ended.
        """
        try:
            keeper = await here.reach(setting.folder)
        except WorldError:
            await here.end_unreachable(setting.folder, component.cleanup_limit_s)
            return None
        if keeper is None:
            return None
        notes = keeper.notes
        found = keeper.take_found()
        noted = notes.get("roots", [])
        roots = [child for child in found if notes.get("ready") and child.pid in noted]
        for child in found:
            if child not in roots:
                child.close()
        capsule = cls(keeper, component, setting, here.disk, root_ended)
        if not notes.get("ready"):
            await capsule.end(component.cleanup_limit_s)
            capsule.close()
            return None
        capsule.watch(roots)
        return capsule, notes, noted == [WHOLE] or len(roots) == len(noted)


async def end_left(folder: Path, here: Premises, limit_s: float) -> bool:
    """End what a start that was broken off may have left in the folder. True when it is confirmed that nothing is."""
    try:
        left = await here.reach(folder)
    except WorldError:
        await here.end_unreachable(folder, limit_s)
        return await here.reach(folder) is None
    if left is None:
        return True
    for child in left.take_found():
        child.close()
    try:
        return await premises.end(left, limit_s)
    finally:
        left.close()
