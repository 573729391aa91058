"""Good runs for the judges: the real cores play each use case on simulated hosts. Made once, never changed."""

from collections.abc import Callable
from functools import cache

from holdfast.lab.judges.evidence import Evidence
from holdfast.model.events import AgentLost, NetworkHeard, NetworkSilent, StandbyLost, SwitchoverAsked
from holdfast.model.names import HA, VIM, HostName, Party, ServiceName, VnfcName, VnfName
from holdfast.model.records import Marked
from tests.scripts.layouts import LAYOUTS
from tests.unit.judged_stage import STEP_S, JournalledStage

VNFM = Party("vnfm:core")
Play = Callable[[JournalledStage], None]


def kill(vnfc: str) -> Play:
    return lambda stage: stage.kill(vnfc)


def kill_vm(vm: str) -> Play:
    return lambda stage: stage.kill_vm(vm)


def kill_vm_while_held(vm: str, *parties: Party) -> Play:
    def play(stage: JournalledStage) -> None:
        for party in parties:
            stage.held[party] = []
        stage.kill_vm(vm)
        for party in parties:
            stage.release(party)

    return play


def crossing(stage: JournalledStage) -> None:
    """The request is sent while the VIM is held; the VIM's report while the VNFM is."""
    stage.held[VIM] = []
    stage.kill_vm("vm1")
    # The VIM sees the death first and the request after it.
    stage.held[VIM].sort(key=lambda news: type(news[1]).__name__ != "VmDied")
    stage.release(VIM)


def wear_out(*vnfcs: str) -> Play:
    def play(stage: JournalledStage) -> None:
        for vnfc in vnfcs:
            stage.kill(vnfc)
            stage.quiet(30)

    return play


def fails_at(kind: str, entity: str, victim: str) -> Play:
    def play(stage: JournalledStage) -> None:
        stage.world.manners[kind, entity] = "fails"
        stage.kill(victim)

    return play


def standby_first(stage: JournalledStage) -> None:
    active = stage.world.vnfcs[VnfcName("registry-1")]
    lost = StandbyLost(VnfcName("registry-1"), active.run, active.epoch, VnfcName("registry-2"))
    failed = stage.world.fail(VnfcName("registry-2"), "killed", "signal 9")
    stage.fault("kill-vnfc", "registry-2", [*failed, (HA, lost)])
    stage.quiet(30)
    stage.kill("registry-1")


def switchover(stage: JournalledStage) -> None:
    stage.fault("switchover", "registry", [(HA, SwitchoverAsked(VnfName("registry")))])


def switchover_to_third(stage: JournalledStage) -> None:
    asked = SwitchoverAsked(VnfName("registry"), None, VnfcName("registry-3"))
    stage.fault("switchover", "registry", [(HA, asked)], detail="registry-3")


def cold_start(stage: JournalledStage) -> None:
    stage.world.write("registry", 7)
    hosts = tuple(stage.layout.hosts)
    stage.fault("down-and-up", "all", [news for host in hosts for news in stage.world.power_off(host)])
    for host in hosts:
        stage.queue.extend(stage.world.join(host))
        stage.settle()


def agent_away(stage: JournalledStage) -> None:
    host = HostName("host1")
    stage.fault("kill-agent", host, [(party, AgentLost(host)) for party in (HA, VNFM, VIM)])
    stage.queue.extend(stage.world.join(host))
    stage.settle()


def agent_stuck(stage: JournalledStage) -> None:
    host = HostName("host1")
    stage.fault("stick-agent", host, [(party, AgentLost(host)) for party in (HA, VNFM, VIM)])
    stage.queue.extend(stage.world.join(host))
    stage.settle()
    stage.quiet(50)
    stage.kill("registry-1")


def host_off(stage: JournalledStage) -> None:
    host, other = HostName("host1"), HostName("host2")
    stage.fault("host-off", host, stage.world.silence(host, other))
    stage.quiet(50)
    stage.queue.extend(stage.world.join(host))
    stage.settle()


def given_back(stage: JournalledStage) -> None:
    host_off(stage)
    stage.quiet(50)
    stage.tick(60.0)


def second_host_lost(stage: JournalledStage) -> None:
    voter, host, other = HostName("host4"), HostName("host1"), HostName("host2")
    stage.fault("host-off", voter, stage.world.silence(voter, other))
    stage.quiet(50)
    stage.fault("host-off", host, stage.world.silence(host, other))
    stage.quiet(50)


def one_network(stage: JournalledStage) -> None:
    host, other = HostName("host1"), HostName("host2")
    pairs = ((host, other), (other, host))
    stage.fault("cut", host, [(VIM, NetworkSilent(of, by, "second")) for of, by in pairs])
    stage.tick(2.0)
    stage.queue.extend((VIM, NetworkHeard(of, by, "second")) for of, by in pairs)
    stage.settle()
    stage.tick(2.0)


def host_off_unheard(stage: JournalledStage) -> None:
    """No manager decides when the host fails; its successor takes over by itself."""
    stage.held[HA] = []
    stage.fault("host-off", "host1", stage.world.silence(HostName("host1"), HostName("host2")))
    agent = Party("agent:host2")
    heard = "host host1 is not heard any more (host2 says so: silent for 45 ms)"
    stage.records.append(Marked(stage.clock, agent, stage.number(agent), "told", "host1", heard))
    stage.clock += STEP_S
    news = stage.world.first_takes(ServiceName("registry"))
    stage.by_standing_order(news)
    stage.queue.extend(news)
    stage.quiet(50)
    stage.release(HA)
    stage.quiet(50)
    stage.queue.extend(stage.world.join(HostName("host1")))
    stage.settle()


def host_fenced(stage: JournalledStage) -> None:
    stage.fault("host-off", "host1", stage.world.silence(HostName("host1"), HostName("host2")))
    stage.quiet(50)


def fenced_by_a_lie(stage: JournalledStage) -> None:
    host, other = HostName("host1"), HostName("host2")
    stage.world.manners |= {("fencing", host): "lies", ("power-on", host): "lies"}
    stage.fault("cut", host, stage.world.cut(host, other))
    stage.quiet(50)
    stage.queue.extend(stage.world.join(host))
    stage.settle()


RUNS: dict[str, tuple[str, str, str, Play]] = {
    # name: layout, service, order, what happens
    "uc1": ("registry", "registry", "uc1", kill("registry-1")),
    "uc1 promotion fails": ("registry-three", "registry", "uc1", fails_at("promotion", "registry-2", "registry-1")),
    "uc1 cleanup fails": ("registry", "registry", "uc1-escalated", fails_at("cleanup", "registry-1", "registry-1")),
    "uc1 standby first": ("registry", "registry", "uc1-standby-first", standby_first),
    "uc2": ("registry", "registry", "uc2", kill_vm("vm1")),
    "uc2 vim first": ("registry", "registry", "uc2", kill_vm_while_held("vm1", HA)),
    "uc2 vim late": ("registry", "registry", "uc2", kill_vm_while_held("vm1", VIM)),
    "uc2 ack late": ("registry", "registry", "uc2", kill_vm_while_held("vm1", VNFM)),
    "uc2 configured": ("registry-configured", "registry", "uc2-configured", kill_vm("vm1")),
    "uc2 two vnfms": ("registry-two-vnfms", "registry", "uc2", kill_vm("vm1")),
    "uc3": ("ledger", "ledger", "uc3", kill("ledger-1")),
    "uc4": ("ledger", "ledger", "uc4", kill_vm("vm1")),
    "uc4 vim first": ("ledger", "ledger", "uc4", kill_vm_while_held("vm1", VNFM)),
    "uc4 vnfm first": ("ledger", "ledger", "uc4", kill_vm_while_held("vm1", VIM)),
    "uc4 crossing": ("ledger", "ledger", "uc4", crossing),
    "uc5": ("dns", "dns", "uc5", kill("dns-1")),
    "uc5 reported": ("dns-reported", "dns", "uc5", kill("dns-1")),
    "uc5 late spare": ("dns-late", "dns", "uc5", kill("dns-1")),
    "uc5 shared spare": ("shared-spare", "dns#1", "uc5", kill("dns-1")),
    "uc6": ("dns", "dns", "uc6", kill_vm("vm1")),
    "uc6 reported": ("dns-reported", "dns", "uc6", kill_vm("vm1")),
    "uc6 late spare": ("dns-late", "dns", "uc6", kill_vm("vm1")),
    "uc7": ("nginx", "nginx", "uc7", kill("nginx-1")),
    "uc8": ("nginx", "nginx", "uc8", kill_vm("vm1")),
    "uc8 vim first": ("nginx", "nginx", "uc8", kill_vm_while_held("vm1", VNFM)),
    "uc8 vnfm first": ("nginx", "nginx", "uc8", kill_vm_while_held("vm1", VIM)),
    "uc8 crossing": ("nginx", "nginx", "uc8", crossing),
    "uc8 two vnfms": ("two-vnfms", "nginx", "uc8", kill_vm("vm1")),
    "uc9": ("nginx", "nginx", "uc9", wear_out(*["nginx-1"] * 4)),
    "uc9 host": ("escalation-hosts", "dns", "uc9-host", wear_out("nginx-1", "nginx-1", "dns-1", "dns-1")),
    "switchover": ("registry", "registry", "switchover", switchover),
    "uc1 granted": ("registry-granted", "registry", "uc1-granted", kill("registry-1")),
    "host off": ("registry-granted", "registry", "host-failure", host_off),
    "given back": ("registry-adjusting-granted", "registry", "auto-adjust", given_back),
    "healed": ("registry-granted", "registry", "heal", host_off),
    "host off unheard": ("registry-granted", "registry", "host-failure", host_off_unheard),
    "host fenced": ("external-granted", "billing", "host-fenced", host_fenced),
    "fenced by a lie": ("external-granted", "billing", "fence-lies", fenced_by_a_lie),
    "agent away": ("registry-granted", "registry", "nothing-moves", agent_away),
    "second host lost": ("registry-four", "registry", "second-host-lost", second_host_lost),
    "one network": ("registry-granted", "registry", "one-network", one_network),
    "switchover granted": ("registry-granted-three", "registry", "switchover-granted", switchover),
    "switchover to third": ("registry-granted-three", "registry", "switchover-to-third", switchover_to_third),
    "agent stuck": ("registry-granted", "registry", "agent-stuck", agent_stuck),
    "cold start": ("registry", "registry", "cold-start", cold_start),
}


@cache
def good_run(name: str) -> Evidence:
    layout, service, order, play = RUNS[name]
    stage = JournalledStage(LAYOUTS[layout](), service)
    stage.start()
    stage.quiet(50)
    play(stage)
    stage.settle()
    stage.quiet()
    return stage.evidence(order)
