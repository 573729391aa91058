"""Grants as they ride on the hot loop: the pure `Grantor` joined with the window in the kernel.

In:   messages of other agents, commands of the own one, what suspicion has noticed, time.
Out:  messages for other agents, news for the own one, and what the kernel is told, in the order in which it was said.
Always: what the kernel confirms is said with a time that was read after it had. An agent that has been silent for too
long holds nothing.
"""

from collections.abc import Iterable
from pathlib import Path

from holdfast.core.grants import Grantor
from holdfast.core.suspicion_words import Noticed, PeerChanged
from holdfast.drivers.window import Window
from holdfast.drivers.window_choice import open_window
from holdfast.drivers.window_order import Outcome
from holdfast.errors import PeerError, WorldError
from holdfast.model.granting import (
    EPOCHS_WAIT_NS,
    IN_DOUBT,
    Arm,
    Close,
    CloseAll,
    Disown,
    Doubt,
    Output,
    Own,
    Persist,
    SendTo,
    voter_set,
)
from holdfast.model.names import HostName, ServiceName
from holdfast.runtime import hot_grant_words as words
from holdfast.runtime.hot_clock import KERNEL_CLOCKS, Clocks
from holdfast.runtime.hot_grant_words import GrantSettings
from holdfast.runtime.hot_voters import HotVoters, voters_at_start
from holdfast.wire.peer import LETTERS_MAX, packed, unpacked

CLOCKS_EVERY_NS = 1_000_000_000


class GrantRider:
    """What rides on the loop. One thread, as the loop is."""

    def __init__(
        self,
        settings: GrantSettings,
        incarnation: int,
        window: Window | None,
        now_ns: int,
        clocks: Clocks = KERNEL_CLOCKS,
    ) -> None:
        self._settings = settings
        self._clocks = clocks
        self._incarnation = incarnation
        self._window = window
        self._post: dict[HostName, list[SendTo]] = {}
        self._news: list[bytes] = []
        self._unread: set[HostName] = set()
        self._unclosed = ""
        """Why the kernel could not close everything: tried again with each heartbeat, and nothing is armed before."""
        self._troubles: set[str] = set()
        """What the kernel has refused since it last armed."""
        self._held: dict[ServiceName, int] = {}
        self._following: dict[ServiceName, int] = {}
        """Orders that are followed as soon as a claim from before has come to its end."""
        self._orders: dict[ServiceName, tuple[int, bytes]] = {}
        """The newest order of each service, for an agent that starts again."""
        self._alive_ns = now_ns
        self._clocks_ns = now_ns
        path = Path(settings.voter_set_file)
        voters = voters_at_start(path, voter_set(settings.members, settings.profile, witnesses=settings.witnesses))
        wait_ns = EPOCHS_WAIT_NS if settings.learns_epochs else 0
        self.grantor = Grantor(settings.me, incarnation, settings.profile, voters, now_ns, wait_ns)
        if not settings.learns_epochs:
            self.grantor.set_floors({}, now_ns)
        self._voters = HotVoters(settings.me, path, self.grantor, clocks, self._tell)
        self._carry_out()

    # What the loop calls.

    def beat(self, now_ns: int) -> None:
        """The ASKs of this round go with the heartbeats."""
        self._look_after_agent(now_ns)
        self._voters.beat(now_ns)
        if self._unclosed:
            reason, self._unclosed = self._unclosed, ""
            self.grantor.kernel_failed(reason, now_ns)
        self.grantor.beat(now_ns)
        self._carry_out()

    def received(self, peer: HostName, incarnation: int, body: bytes, now_ns: int) -> None:
        try:
            heard_all = unpacked(peer, incarnation, body)
        except PeerError as error:
            self._refuse(peer, error)
            return
        for heard in heard_all:
            self.grantor.receive(heard, now_ns)
            self._carry_out()

    def _refuse(self, peer: HostName, error: PeerError) -> None:
        """Authentic, and yet not to be read: another version. Said once, since it comes with every heartbeat."""
        if peer not in self._unread:
            self._unread.add(peer)
            self._tell(words.Said(IN_DOUBT, peer, error.message))

    def noticed(self, noticed: Noticed, now_ns: int) -> None:
        if isinstance(noticed, PeerChanged):
            self.grantor.noticed(noticed, now_ns)
            self._carry_out()

    def told(self, body: bytes, now_ns: int) -> None:
        command = words.command_in(body)
        now = self._alive_ns = now_ns
        match command:
            case words.Claim(service=service, epoch=epoch):
                if self._held.get(service) == epoch:
                    self._tell(words.HeldNow(service, epoch))
                elif epoch > self._held.get(service, epoch):
                    self.grantor.seal(service, epoch, now)
                else:
                    self.grantor.claim(service, epoch, "take", now)
            case words.GiveUp(service=service):
                self.grantor.release(service, now)
            case words.GuardPort(port=port):
                self._guard(port)
            case words.Follow(order=order, told=told):
                self.grantor.order(order, now)
                self._following[order.service] = order.revision
                if order.revision >= self._orders.get(order.service, (0, b""))[0]:
                    self._orders[order.service] = (order.revision, told)
            case words.TakeEpochs():
                self._voters.learn(command, now)
            case words.VotersWritten(voters=voters, use=use):
                self._voters.written(voters, now, use=use)
            case words.Alive():
                pass
            case words.Greet():
                self._greet()
        self._carry_out()

    def tick(self, now_ns: int) -> None:
        self.grantor.tick(now_ns)
        self._carry_out()

    def deadline(self) -> int | None:
        return self.grantor.deadline()

    def take(self) -> Iterable[tuple[HostName, bytes]]:
        """What does not wait for the next heartbeat: answers, releases."""
        post, self._post = self._post, {}
        return [(peer, packed(messages)) for peer, messages in post.items()]

    def news(self) -> Iterable[bytes]:
        news, self._news = self._news, []
        return news

    def _greet(self) -> None:
        """The agent may be another one than before: it gets the orders that are followed, and how things stand."""
        for service, (revision, told) in self._orders.items():
            if told:
                self._tell(words.Known(told))
                self._following[service] = revision
        timed = self._window is not None and self._window.gate_is_timed
        claimed = tuple(one.service for one in self.grantor.claims if one.step == "take" and one.is_live)
        self._tell(words.Ready(self._incarnation, timed, dict(self._held), claimed, self._voters.in_use))

    def set_peers(self, peers: Iterable[HostName], now_ns: int) -> None:
        """The voters are a matter of the voter set, not of the peers that are heard."""

    # What follows.

    def _look_after_agent(self, now_ns: int) -> None:
        if self._held and now_ns - self._alive_ns > words.AGENT_SILENT_NS:
            for service in tuple(self._held):
                self.grantor.release(service, now_ns)
        if now_ns - self._clocks_ns >= CLOCKS_EVERY_NS:
            self._clocks_ns = now_ns
            self.grantor.clocks(self._clocks.raw_ns(), self._clocks.monotonic_ns(), now_ns)

    def _carry_out(self) -> None:
        """Do what the grants say, in their order, until they say nothing more."""
        while outputs := self.grantor.take():
            for output in outputs:
                self._do(output)
        for service, number in tuple(self._following.items()):
            if not self.grantor.is_claiming(service):
                del self._following[service]
                self._tell(words.Followed(service, number))

    def _do(self, output: Output) -> None:
        match output:
            case SendTo():
                waiting = self._post.setdefault(output.host, [])
                waiting.append(output)
                del waiting[:-LETTERS_MAX]
            case Arm():
                self._arm(output)
            case Own() | Disown() | Close() | CloseAll():
                self._change(output)
            case Persist():
                self._voters.persist(output.voter_set, self._clocks.raw_ns(), self._alive_ns)
            case Doubt():
                self._tell(words.Said(IN_DOUBT, self._settings.me, output.reason))
            case _:
                self._know(output)

    def _know(self, output: Output) -> None:
        news = words.news_of(output)
        if isinstance(news, words.HeldNow):
            self._held[news.service] = news.epoch
        elif isinstance(news, words.NotHeld) and (news.how != "refused" or self._held.get(news.service) == news.epoch):
            # A claim that is refused says nothing about another one that is held.
            self._held.pop(news.service, None)
        if news is not None:
            self._tell(news)

    def _arm(self, output: Arm) -> None:
        if not self.grantor.wants(output):
            return  # Something said before it has failed.
        window = self._window
        if window is None:
            self.grantor.armed(output.until_ns, self._clocks.raw_ns())
            return
        try:
            outcome = window.arm(output.until_ns)
        except WorldError as error:
            failed = self.grantor.arm_failed if self._fall_shut(error) else self.grantor.kernel_failed
            failed(error.message, self._clocks.raw_ns())
            return
        if outcome is Outcome.ARMED:
            self._troubles.clear()
            self.grantor.armed(output.until_ns, self._clocks.raw_ns())
        else:
            self.grantor.arm_failed(outcome.value, self._clocks.raw_ns())

    def _change(self, output: "Own | Disown | Close | CloseAll") -> None:
        try:
            self._change_window(output)
        except WorldError as error:
            self._fall_shut(error)
            if isinstance(output, CloseAll):
                self._unclosed = error.message
            else:
                own = output.service if isinstance(output, Own) else None
                self.grantor.kernel_failed(error.message, self._clocks.raw_ns(), own)
            return
        now = self._clocks.raw_ns()
        if isinstance(output, Close):
            self.grantor.closed(output.service, now)
        elif isinstance(output, CloseAll):
            self.grantor.all_closed(now)

    def _change_window(self, output: "Own | Disown | Close | CloseAll") -> None:
        window = self._window
        if window is None:
            return
        if isinstance(output, CloseAll):
            window.close()
            window.disown(window.owned())
            return
        address = self._settings.addresses.get(output.service, "")
        if not address:
            return
        if isinstance(output, Own):
            window.own([address], output.until_ns)
        else:
            window.disown([address])

    def _fall_shut(self, error: WorldError) -> bool:
        """Close for that trouble; whether the kernel has confirmed that it is closed."""
        self._say(error)
        try:
            if self._window is not None:
                self._window.close()
        except WorldError as refused:
            self._say(refused)
            return False
        return True

    def _say(self, trouble: WorldError) -> None:
        """Once until the next arming: what the kernel refuses comes again with each heartbeat."""
        if trouble.message not in self._troubles:
            self._troubles.add(trouble.message)
            self._tell(words.Said("window-trouble", self._settings.me, trouble.message))

    def _guard(self, port: str) -> None:
        trouble = ""
        try:
            if self._window is not None:
                self._window.guard_port(port)
        except WorldError as error:
            trouble = error.message
        self._tell(words.PortGuarded(port, trouble))

    def _tell(self, news: words.GrantNews) -> None:
        self._news.append(words.packed(news))


def make_window(settings: GrantSettings) -> Window | None:
    """The window of this host; None on one that holds no address."""
    addresses = [address for address in settings.addresses.values() if address]
    if not addresses or settings.me in settings.witnesses:
        return None
    window = open_window(addresses, settings.table, longest_ns=settings.profile.length_ns)
    if settings.interface:
        window.guard(settings.interface)
    return window
