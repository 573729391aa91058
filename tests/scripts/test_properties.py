"""What must hold in every story, also in those that nobody has written: random failures over the whole stage."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.core import vim
from holdfast.model.actions import Action, Activate, Decision
from holdfast.model.names import HA, VIM, ActionId, GroupName, HostName, Party, ServiceName, VmName, VnfcName
from tests.scripts.harness import HaCore, Stage, Story
from tests.scripts.layouts import LAYOUTS
from tests.scripts.words import ha_lines

PLACES = ["registry", "registry-three", "dns", "dns-reported", "dns-late", "shared-spare", "external", "two-groups"]
PLACES += ["registry-adjusting", "pool-adjusting"]

Deed = tuple[str, int]
DEEDS: dict[str, str] = {
    "fail": "fail {vnfc}",
    "hang": "fail {vnfc} check",
    "kill-vm": "kill-vm {vm}",
    "kill-vm-unseen": "kill-vm {vm} unseen-by-vim",
    "kill-vm-unheard": "kill-vm {vm} unseen-by-agent",
    "cleanup-fails": "from-now cleanup of {vnfc} fails 1",
    "cleanup-hangs": "from-now cleanup of {vnfc} hangs 1",
    "promotion-fails": "from-now promotion of {vnfc} fails 1",
    "promotion-hangs": "from-now promotion of {vnfc} hangs 1",
    "quiescing-fails": "from-now quiescing of {vnfc} fails 1",
    "start-fails": "from-now start of {vnfc} fails 1",
    "start-hangs": "from-now start of {vnfc} hangs 1",
    "finish": "finish {vnfc}",
    "boot-hangs": "from-now boot of {vm} hangs 1",
    "agent-lost": "agent {host} lost",
    "agent-joins": "agent {host} joins",
    "hold-vim": "hold vim",
    "release-vim": "release vim",
    "restart": "restart ha",
    "forget": "forget ha",
    "switchover": "switchover {vnf}",
    "write": "write {group} 1",
    "standby-lost": "standby-lost {active} {vnfc}",
    "write-alone": "standby-lost {active} {vnfc}\nwrite {group} 1",
    "write-and-fail": "write {group} 1\nfail {active}",
    "write-without": "from-now start of {vnfc} hangs 1\nfail {vnfc}\nwrite {group} 1",
    "synchronisation-hangs": "from-now synchronisation of {vnfc} hangs",
    "synchronisation-works": "from-now synchronisation of {vnfc} works",
    "hold-ha": "hold ha",
    "release-ha": "release ha",
    "tick": "tick 1",
    "long-tick": "tick 3",
}

deeds = st.lists(st.tuples(st.sampled_from(sorted(DEEDS)), st.integers(0, 3)), min_size=1, max_size=10)


def told(stage: Stage, deed: Deed) -> str | None:
    """The command for a drawn deed; None where it makes no sense as things are."""
    kind, first = deed
    layout = stage.layout
    vnfc = list(layout.vnfcs)[first % len(layout.vnfcs)]
    vm = list(layout.vms)[first % len(layout.vms)]
    host = list(layout.hosts)[first % len(layout.hosts)]
    group = layout.vnfcs[vnfc].group
    world = stage.world
    members = layout.groups[group].vnfcs
    active = next((one for one in members if world.vnfcs[one].role == "active" and is_well(stage, one)), None)
    sensible = {
        "fail": world.vnfcs[vnfc].condition == "ready",
        "hang": world.vnfcs[vnfc].condition == "ready",
        "hold-vim": Party("vim") not in stage.held,
        "release-vim": Party("vim") in stage.held,
        "agent-lost": host not in world.away,
        "agent-joins": host in world.away,
        "write": active is not None and layout.groups[group].state == "internal",
        "write-alone": active not in (None, vnfc) and layout.groups[group].state == "internal",
        "write-and-fail": active is not None and layout.groups[group].state == "internal",
        "write-without": active not in (None, vnfc)
        and is_well(stage, vnfc)
        and layout.groups[group].state == "internal",
        "standby-lost": active not in (None, vnfc) and layout.groups[group].state == "internal",
        # What the VIM does not see, and the HA manager has forgotten, nobody knows.
        # And an agent tells of a start that hangs; a simulated one does not.
        "forget": not unseen_by_vim(stage) and not world.hanging,
        "hold-ha": HA not in stage.held,
        "release-ha": HA in stage.held,
    }
    if not sensible.get(kind, True):
        return None
    return DEEDS[kind].format(vnfc=vnfc, vm=vm, host=host, vnf=layout.vnfcs[vnfc].vnf, group=group, active=active)


def unseen_by_vim(stage: Stage) -> list[VmName]:
    """VMs that are gone and that it takes for up."""
    state = stage.cores[VIM].state
    assert isinstance(state, vim.State)
    return [name for name, life in state.vms.items() if life.phase == "up" and not stage.world.vms[name].is_up]


def is_well(stage: Stage, name: VnfcName) -> bool:
    return stage.world.vnfcs[name].condition == "ready"


def begin(place: str) -> Story:
    story = Story()
    story.play(f"layout {place}\nstart")
    return story


def live_through(story: Story, script: list[Deed]) -> None:
    for deed in script:
        command = told(story.stage, deed)
        if command is not None:
            story.play(command)
            no_update_is_lost(story.stage)


def no_update_is_lost(stage: Stage) -> None:
    for group, updates in stage.world.acknowledged.items():
        for service in stage.layout.groups[GroupName(group)].services:
            for owner in stage.world.owners(service):
                has = stage.world.vnfcs[owner].disk.sequence
                assert has >= updates, f"{owner} has {has} of {updates} acknowledged updates"


def heal(story: Story) -> None:
    """Nothing is broken any more, and there is time to recover."""
    stage = story.stage
    for party in list(stage.held):
        story.play(f"release {party}")
    stage.world.manners.clear()
    stage.world.times.clear()
    for host in sorted(stage.world.away):
        story.play(f"agent {host} joins")
    for _ in range(4):
        for name in [*stage.layout.vnfcs, *stage.layout.vms]:
            story.play(f"finish {name}")
        story.play("tick 30")
        catch_up(story)


def catch_up(story: Story) -> None:
    """Replication works again: standbys that were lost or never caught up do so now."""
    world = story.stage.world
    for name, vnfc in world.vnfcs.items():
        members = story.stage.layout.groups[story.stage.layout.vnfcs[name].group].vnfcs
        active = next((one for one in members if world.vnfcs[one].role == "active" and is_well(story.stage, one)), None)
        if vnfc.role == "standby" and not vnfc.synced and vnfc.condition == "ready" and active is not None:
            story.play(f"synchronise {active} {name}")


def ha_core(stage: Stage) -> HaCore:
    core = stage.cores[HA]
    assert isinstance(core, HaCore)
    return core


def watch_activations(stage: Stage) -> Callable[[], None]:
    """Check at each promotion that nobody else answers for the service, or could still be made to."""
    wrong: list[str] = []
    let_out = stage.let_out

    def checked(party: Party, action: Action) -> None:
        if isinstance(action, Activate):
            others = [one for one in stage.world.owners(action.service) if one != action.vnfc]
            if others:
                wrong.append(f"{action.vnfc} was promoted while {others} answered for {action.service}")
        let_out(party, action)

    stage.let_out = checked  # type: ignore[method-assign]

    def verdict() -> None:
        assert not wrong, wrong

    return verdict


def test_the_watch_over_activations_notices_two_owners() -> None:
    story = begin("registry")
    verdict = watch_activations(story.stage)
    service = next(iter(story.stage.layout.services))
    story.stage.let_out(HA, Activate(ActionId("ha/900"), VnfcName("registry-2"), 1, service, 9))
    with pytest.raises(AssertionError, match="answered for registry"):
        verdict()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(place=st.sampled_from(PLACES), script=deeds)
def test_never_two_owners_and_everything_is_restored_when_the_faults_are_over(place: str, script: list[Deed]) -> None:
    story = begin(place)
    verdict = watch_activations(story.stage)
    live_through(story, script)
    heal(story)
    verdict()
    no_update_is_lost(story.stage)
    for group in ha_core(story.stage).state.groups.values():
        for name, service in group.services.items():
            assert service.state == "provided", f"{name} is {service.state}: {ha_lines(ha_core(story.stage).state)}"
            assert story.stage.world.owners(name) == [service.holder]
        assert not group.incidents, ha_lines(ha_core(story.stage).state)
        assert not group.alarms
        assert not any(now.phase in ("failed", "starting", "stopping") for now in group.vnfcs.values())


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(place=st.sampled_from(PLACES), script=deeds)
def test_every_decision_rests_on_something_that_was_seen(place: str, script: list[Deed]) -> None:
    story = begin(place)
    live_through(story, script)
    for party, decision in story.stage.decisions:
        if party == HA:
            assert seen_by(decision), f"{decision} rests on nothing"
            assert max(seen_by(decision)) <= story.stage.numbers[HA]


def seen_by(decision: Decision) -> tuple[int, ...]:
    return tuple(n for reason in decision.reasons for n in reason.seen)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(place=st.sampled_from(PLACES), script=deeds, cut=st.integers(0, 40))
def test_an_ha_manager_that_is_cut_off_after_any_step_comes_to_the_same_end(
    place: str, script: list[Deed], cut: int
) -> None:
    script = [deed for deed in script if deed[0] not in ("restart", "forget", "hold-ha")]
    whole = begin(place)
    live_through(whole, script)
    heal(whole)
    severed = begin(place)
    cut_after(severed.stage, severed.stage.numbers[HA] + cut)
    live_through(severed, script)
    heal(severed)
    assert ha_lines(ha_core(severed.stage).state) == ha_lines(ha_core(whole.stage).state)


def cut_after(stage: Stage, n: int) -> None:
    """When the HA manager has taken event `n`, its process is killed; it starts again before the next one."""
    done: list[bool] = []

    def before_step(party: Party) -> None:
        if party != HA or done or stage.numbers[HA] < n:
            return
        done.append(True)
        core = ha_core(stage)
        core.save_and_load()
        for action in core.outstanding():
            stage.let_out(HA, action)

    stage.before_step = before_step


STATE_DEEDS = [
    "fail",
    "kill-vm",
    "write-alone",
    "write-and-fail",
    "write-without",
    "start-hangs",
    "finish",
    "switchover",
    "promotion-fails",
    "forget",
]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    place=st.sampled_from(["registry", "registry-three"]),
    script=st.lists(st.tuples(st.sampled_from(STATE_DEEDS), st.integers(0, 2)), min_size=3, max_size=9),
)
def test_no_acknowledged_update_is_lost(place: str, script: list[Deed]) -> None:
    story = begin(place)
    story.play("write registry 3")
    live_through(story, script)
    heal(story)
    no_update_is_lost(story.stage)
    assert story.stage.world.owners(ServiceName("registry"))


def test_the_order_of_the_agents_does_not_matter_at_the_start() -> None:
    story = Story()
    story.play("layout registry")
    stage = story.stage
    for host in reversed(list(stage.layout.hosts)):
        stage.queue.extend(stage.world.join(HostName(host)))
    stage.start()
    assert stage.world.owners(next(iter(stage.layout.services)))


def test_the_stage_knows_all_layouts() -> None:
    for name in LAYOUTS:
        story = begin(name)
        assert all(story.stage.world.owners(service) for service in story.stage.layout.services), name
