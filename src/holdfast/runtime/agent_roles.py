"""Roles: what a VNFC is told, and what its interface does, in the order that keeps one active.

In: Activate, StandBy, Quiesce, ConfirmLoss for a VNFC that is ready. Out: done, or HoldfastError. What always holds: an
address is made known only after the component has confirmed the role, and taken before it may go to another.
Where the component claims the address itself, the gate is opened first and the address is then seen at the
component; whoever was active before has been isolated by then (the manager sees to that).
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

from holdfast.errors import WorldError
from holdfast.model.actions import Activate, ConfirmLoss, Quiesce, StandBy
from holdfast.model.layout import Service
from holdfast.model.names import VnfcName
from holdfast.runtime.agent_setting import replication_peer
from holdfast.runtime.agent_vnfc import VnfcOnHost
from holdfast.wire import component as wire

LOOK_AGAIN_S = 0.002
"""Pause between two looks for an address that the component claims."""


async def activate(life: VnfcOnHost, action: Activate) -> str:
    life.must_be_ready(action.run)
    await serve(life, life.layout.services[action.service], action.epoch, action.in_sync)
    await life.leave_notes()
    return "active, told and read back"


async def serve(life: VnfcOnHost, service: Service, epoch: int, in_sync: tuple[VnfcName, ...] = ()) -> None:
    """Make it active for the service, and confirm that it is."""
    claims = service.assigned_by == "component"
    # First: a majority knows that it is ours, and nobody else answers, before the component hears of its role.
    life.network.is_claimed_for(life.vnfc, service.name)
    claimed = life.network.exclusive.claim(service, epoch)
    await (life.while_it_lives(claimed) if life.network.exclusive.is_shared else claimed)
    try:
        if claims:
            life.network.open_gate(life.vnfc, service)
            await life.while_it_lives(_tell_active(life, service, epoch, in_sync))
        elif life.component.speaks and life.component.become_active is None:
            await life.while_it_lives(_tell_and_place(life, service, epoch, in_sync))
        else:
            await life.while_it_lives(_tell_and_open(life, service, epoch, in_sync))
            life.network.assign(life.vnfc, service)
        if claims and service.address:
            await life.while_it_lives(_see_claimed(life, service))
        if service.address and not life.network.holds(life.vnfc, service):
            raise WorldError(f"{service.address} is not at {life.vnfc.name} after it was given")
    except BaseException:
        life.network.take(life.vnfc, service)
        raise
    life.role, life.epoch = "active", epoch
    life.provides = tuple(dict.fromkeys((*life.provides, service.name)))
    life.network.announce_again(life.vnfc, service, lambda: service.name in life.provides)


async def _tell_active(life: VnfcOnHost, service: Service, epoch: int, in_sync: tuple[VnfcName, ...]) -> None:
    component = life.component
    if component.become_active is not None:
        setting = life.setting.for_role("active", service, epoch, HOLDFAST_IN_SYNC=",".join(in_sync))
        await life.capsule.operate(component.become_active, setting)
    if component.speaks:
        await _say_active(life, service, epoch, in_sync)


def _say_active(
    life: VnfcOnHost, service: Service, epoch: int, in_sync: tuple[VnfcName, ...]
) -> Coroutine[Any, Any, None]:
    """Tell it, at once; to be awaited until it has confirmed that."""
    life.in_sync = set(in_sync)
    life.losing.clear()
    claim = service.assigned_by == "component"
    return life.tell(
        lambda number: wire.BecomeActive(number, service.name, epoch, in_sync, service.address, claim),
        life.component.role_limit_s,
    )


async def _tell_and_place(life: VnfcOnHost, service: Service, epoch: int, in_sync: tuple[VnfcName, ...]) -> None:
    """Open the gate while the component does its part, and put the address there; made known when it has confirmed.

    Only where it is told on its socket: a command may take long, or count on the address.
    """
    confirmed = _say_active(life, service, epoch, in_sync)
    try:
        life.network.open_gate(life.vnfc, service)
        life.network.place(life.vnfc, service)
        await confirmed
    finally:
        confirmed.close()
    life.network.announce(life.vnfc, service)


async def _tell_and_open(life: VnfcOnHost, service: Service, epoch: int, in_sync: tuple[VnfcName, ...]) -> None:
    """Open the gate while the component does its part; nothing is answered behind it before the address is there."""
    telling = asyncio.ensure_future(_tell_active(life, service, epoch, in_sync))
    try:
        await asyncio.sleep(0)  # It is told first.
        life.network.open_gate(life.vnfc, service)
        await telling
    finally:
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)


async def _see_claimed(life: VnfcOnHost, service: Service) -> None:
    limit_s = life.component.role_limit_s
    try:
        async with asyncio.timeout(limit_s):
            while not life.network.holds(life.vnfc, service):
                await asyncio.sleep(LOOK_AGAIN_S)
    except TimeoutError:
        raise WorldError(f"{life.vnfc.name} has not claimed {service.address} within {limit_s:g} s") from None


async def stand_by(life: VnfcOnHost, action: StandBy) -> str:
    life.must_be_ready(action.run)
    service, component = life.layout.services[action.service], life.component
    _give_up(life, service)
    peer = replication_peer(life.layout, action.active)
    if component.become_standby is not None:
        more = {"HOLDFAST_ACTIVE": action.active, "HOLDFAST_PEER": peer}
        setting = life.setting.for_role("standby", service, action.epoch, **more)
        await life.while_it_lives(life.capsule.operate(component.become_standby, setting))
    if component.speaks:
        told = life.tell(
            lambda number: wire.BecomeStandby(number, service.name, action.epoch, action.active, peer),
            component.role_limit_s,
        )
        await life.while_it_lives(told)
    life.role, life.epoch = "standby", action.epoch
    await life.leave_notes()
    return "standby, told"


async def quiesce(life: VnfcOnHost, action: Quiesce) -> str:
    life.must_be_ready(action.run)
    service = life.layout.services[action.service]
    if life.component.speaks:
        try:
            told = life.tell(
                lambda number: wire.Quiesce(number, service.name, action.epoch), life.component.role_limit_s
            )
            await life.while_it_lives(told)
        except WorldError as error:
            # It may have stopped serving. Whoever decided this may be followed by one who does not know of it.
            life.is_lost(f"could not be quiesced: {error.message}")
            raise
    life.beside(_note_quiescing(life, action.epoch))
    # It is on its way to the capsule then, which takes it whatever becomes of us: the successor need not wait for it.
    await asyncio.sleep(0)
    _give_up(life, service)
    return "quiesced, gate and address withdrawn"


async def _note_quiescing(life: VnfcOnHost, epoch: int) -> None:
    """Before the address is gone: an agent that starts in between finds it, whatever the notes say, and says so."""
    life.role, life.epoch = "quiescing", epoch
    try:
        await life.leave_notes()
    except WorldError as error:
        life.mark("notes-not-left", life.vnfc.name, error.message)


async def confirm_loss(life: VnfcOnHost, action: ConfirmLoss) -> str:
    life.must_be_ready(action.run)
    if action.seal and action.service is not None:
        # No order that the lost one may still follow can succeed after this.
        await life.while_it_lives(life.network.exclusive.claim(life.layout.services[action.service], action.seal))
    told = life.tell(lambda number: wire.Recorded(number, action.standby), life.component.role_limit_s)
    await life.while_it_lives(told)
    life.losing.discard(action.standby)
    if life.in_sync is not None:
        life.in_sync.discard(action.standby)
    return "told"


def _give_up(life: VnfcOnHost, service: Service) -> None:
    if service.name not in life.provides and not life.network.holds(life.vnfc, service):
        return  # Nothing to take: in particular no order to wait for it, which a standby has.
    life.provides = tuple(name for name in life.provides if name != service.name)
    life.network.take(life.vnfc, service)
