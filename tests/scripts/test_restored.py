"""A store that is restored from an older snapshot, after whatever has happened since: agents know better."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.scripts.harness import Stage
from tests.scripts.test_properties import Deed, begin, ha_core, heal, live_through, no_update_is_lost, watch_activations
from tests.scripts.words import ha_lines

PLACES = ["registry-granted", "registry-granted-three", "dns-granted"]
SINCE = [
    "fail",
    "kill-vm",
    "write",
    "write-alone",
    "write-and-fail",
    "standby-lost",
    "switchover",
    "finish",
    "start-hangs",
]
since = st.lists(st.tuples(st.sampled_from(SINCE), st.integers(0, 3)), max_size=6)


def actives(stage: Stage) -> dict[str, list[tuple[str, int]]]:
    """Who answers for each service, and which start of it that is."""
    owners = {name: stage.world.owners(name) for name in stage.layout.services}
    return {name: [(one, stage.world.vnfcs[one].run) for one in found] for name, found in owners.items()}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(place=st.sampled_from(PLACES), before=since, after=since, at_last=st.booleans())
def test_who_is_active_goes_on_and_no_update_is_lost(
    place: str, before: list[Deed], after: list[Deed], at_last: bool
) -> None:
    story = begin(place)
    verdict = watch_activations(story.stage)
    live_through(story, before)
    heal(story)
    story.play("snapshot")
    live_through(story, after)
    heal(story)
    if at_last:
        live_through(story, [("write-alone", 0), ("write-alone", 1)])
    was = actives(story.stage)
    story.play("restore 7")
    assert actives(story.stage) == was
    heal(story)
    assert actives(story.stage) == was, ha_lines(ha_core(story.stage).state)
    no_update_is_lost(story.stage)
    for found in was.values():
        for owner, _ in found:
            story.play(f"fail {owner}")
            no_update_is_lost(story.stage)
    heal(story)
    verdict()
    no_update_is_lost(story.stage)
    for group in ha_core(story.stage).state.groups.values():
        for name, service in group.services.items():
            assert service.state == "provided", f"{name} is {service.state}: {ha_lines(ha_core(story.stage).state)}"
            assert story.stage.world.owners(name) == [service.holder]
        assert not group.alarms
