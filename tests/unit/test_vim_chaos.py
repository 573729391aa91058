"""Many faults at once, in any order, with actions that fail or hang and managers that restart.

Whatever happens, two of anything never run, and no VM is started before those who knew it have spoken (the world's
judge sees to that at each step). Once nothing is broken any more, everything comes back by itself.
"""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from holdfast.model.layout import Grants, Layout
from holdfast.model.names import HostName, VmName, VnfcName
from tests.unit.managers_layout import Plan
from tests.unit.managers_world import World

VNFCS = ("dns-1", "web-1", "mail-1", "log-1", "disk-1")
VMS = ("vm1", "vm2", "vm3")
BREAKABLE = (
    *(f"{kind}:{vm}" for kind in ("StartVm", "IsolateVm") for vm in VMS),
    *(f"IsolateVnfc:{vnfc}" for vnfc in VNFCS),
    *(f"StartVnfc:{vnfc}" for vnfc in VNFCS if vnfc not in ("log-1", "disk-1")),  # Held for good otherwise: no VM.
    "FenceHost:h1",
    "StartHost:h1",
)
KINDS = (
    *("move",) * 12,
    *("kill", "hang", "kill-vm", "off", "lose", "join", "silent", "was-silent"),
    *("fails", "hangs", "mend", "wait", "restart"),
)
STEPS = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 60)), max_size=80)


def layout() -> Layout:
    plan = Plan().host("h1", fence=True).host("h2").vm("vm1").vm("vm2", repair="initial").vm("vm3", host="h2")
    plan.vnf("dns", vm="vm1").vnf("web", vm="vm1", vnfm="web").vnf("mail", vm="vm2", vnfm="web", after=("web",))
    return plan.vnf("log", vm=None, host="h2", maximum=1000).layout


def granted_layout() -> Layout:
    """The same on hosts that hold grants, with a component that is in no VM on the one that can be switched off."""
    plan = Plan()
    plan.layout = replace(layout(), grants=Grants("fast"))
    return plan.vnf("disk", vm=None, host="h1", maximum=1000).layout


def happen(world: World, kind: str, number: int) -> None:
    vnfc = VnfcName(VNFCS[number % len(VNFCS)])
    vm = VmName(VMS[number % len(VMS)])
    host = HostName(("h1", "h2")[number % 2])
    moves = world.moves()
    match kind:
        case "move" if moves:
            moves[number % len(moves)]()
        case "kill" if vnfc in world.running:
            world.kill(vnfc)
        case "hang" if vnfc in world.running:
            world.hang(vnfc)
        case "kill-vm" if vm in world.vm_up:
            world.kill_vm(vm)
        case "off" if "h1" in world.host_on:
            world.turn_off(HostName("h1"))
        case "silent" | "was-silent" if world.layout.grants is not None:
            life = world.lives[HostName("h1")] - (kind == "was-silent")
            world.found_silent(HostName("h1"), HostName("h2"), life)
        case "lose" if host in world.host_on:
            world.lose(host)
        case "join" if host in world.host_on:
            world.join(host)
        case "fails" | "hangs":
            world.broken[BREAKABLE[number % len(BREAKABLE)]] = kind
        case "mend":
            world.broken.clear()
        case "wait":
            world.wait(float(number))
        case "restart":
            parties = sorted(world.states)
            world.restart(parties[number % len(parties)])


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(st.booleans(), STEPS)
def test_whatever_happens_all_is_well_once_nothing_is_broken(granted: bool, steps: list[tuple[str, int]]) -> None:
    world = World(granted_layout() if granted else layout())
    world.begin()
    for kind, number in steps:
        happen(world, kind, number)
    world.settle()
    world.broken.clear()
    for host in sorted(world.host_on):
        world.join(host)
    world.wait(1000.0)
    assert world.all_is_well(), "\n".join(world.lines)
    assert not world.open_incidents(), "\n".join(world.lines)
