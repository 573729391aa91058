"""Links, addresses and routes of one network namespace, by rtnetlink messages written here.

No process is started and nothing is waited for: the kernel answers a netlink message within the call that sends it.
What the kernel refuses is a KernelRefused that names the interface, the value, the kernel's reply and its usual cause.
"""

import errno
import fcntl
import os
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface
from types import TracebackType
from typing import Self

from holdfast.drivers.namespaces import inside
from holdfast.errors import MachineLacks, UserError, WorldError

REPLY_LIMIT_S = 2
"""The kernel replies within the request; only a machine in ruins makes it later than this."""
INTERFACE_NAME_MAX = 15

# Kinds and flags of messages (linux/rtnetlink.h, linux/netlink.h).
RTM_NEWLINK, RTM_DELLINK, RTM_SETLINK = 16, 17, 19
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR, RTM_NEWROUTE = 20, 21, 22, 24
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP, NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 1, 4, 0x300, 0x100, 0x200, 0x400
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_CAPPED, NLM_F_ACK_TLVS = 0x100, 0x200
SOL_NETLINK, NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK = 270, 10, 11, 12

# Attributes of links (linux/if_link.h); the nested ones carry those below them.
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MASTER, IFLA_LINKINFO, IFLA_AF_SPEC, IFLA_NET_NS_FD = 1, 3, 10, 18, 26, 28
IFLA_INFO_KIND, IFLA_INFO_DATA, VETH_INFO_PEER = 1, 2, 1
IFLA_BR_FORWARD_DELAY, IFLA_BR_STP_STATE, IFLA_BR_MCAST_SNOOPING = 1, 5, 23
IFLA_INET_CONF, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE = 1, 8, 1
IPV4_DEVCONF_ARP_ANNOUNCE, IPV4_DEVCONF_ARP_IGNORE, IPV4_DEVCONF_PROMOTE_SECONDARIES = 18, 19, 20
IFF_UP = 1

# Attributes and flags of addresses and routes (linux/if_addr.h, linux/rtnetlink.h).
IFA_ADDRESS, IFA_LOCAL, IFA_CACHEINFO, IFA_FLAGS = 1, 2, 6, 8
IFA_F_NODAD, IFA_F_DADFAILED, IFA_F_TENTATIVE, IFA_F_NOPREFIXROUTE = 0x02, 0x08, 0x40, 0x200
RT_SCOPE_UNIVERSE, RT_SCOPE_LINK, RT_TABLE_MAIN, RTPROT_STATIC, RTN_UNICAST, RTA_GATEWAY = 0, 253, 254, 4, 1, 5
FOR_EVER = 0xFFFFFFFF

SIOCGIFFLAGS, SIOCGIFHWADDR, SIOCGIFINDEX = 0x8913, 0x8927, 0x8933

Interface = IPv4Interface | IPv6Interface

USUAL_CAUSE = {
    errno.ENODEV: "no interface of this name is there: its VM may be gone, or the name is wrong",
    errno.EPERM: "this needs root, or CAP_NET_ADMIN in the namespace",
    errno.EACCES: "IPv6 is disabled on the interface (net.ipv6.conf.<interface>.disable_ipv6)",
    errno.EOPNOTSUPP: "this kernel lacks the kind of interface or address (bridge, veth, IPv6)",
    errno.EAFNOSUPPORT: "this kernel was started without IPv6",
    errno.EEXIST: "one of that name or value is there already",
    errno.ENETUNREACH: "the gateway is in none of the interface's subnets",
    errno.EHOSTUNREACH: "the gateway is in none of the interface's subnets",
    errno.ENETDOWN: "the interface is down",
    errno.EBUSY: "the interface belongs to another bridge",
    errno.EBADF: "the namespace's file descriptor is closed",
    errno.EINVAL: "the kernel holds the value for impossible",
}


class KernelRefused(WorldError):
    """The kernel refused a netlink request; `errno` is its reply."""

    def __init__(self, what: str, code: int, kernel_text: str = "") -> None:
        reply = f"{errno.errorcode.get(code, code)} ({kernel_text or os.strerror(code)})"
        super().__init__(f"cannot {what}: the kernel replied {reply}", USUAL_CAUSE.get(code, ""))
        self.errno = code
        self.kernel_text = kernel_text


@dataclass(frozen=True)
class HeldAddress:
    """One address on an interface, as the kernel says."""

    address: Interface
    flags: int
    scope: int

    @property
    def is_usable(self) -> bool:
        """False while duplicate address detection runs, and for ever after it has failed."""
        return not self.flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED)


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    return struct.pack("=HH", len(payload) + 4, kind) + payload + bytes(-len(payload) % 4)


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The attributes in `data`, without the flag bits of their kinds."""
    at = 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        if length < 4:
            return
        yield kind & 0x3FFF, data[at + 4 : at + length]
        at += length + 3 & ~3


def _number(value: int) -> bytes:
    return struct.pack("=I", value)


def _name(name: str) -> bytes:
    encoded = name.encode()
    if not 0 < len(encoded) <= INTERFACE_NAME_MAX or any(sign in " /:\0" or sign.isspace() for sign in name):
        raise UserError(
            f"{name!r} cannot be the name of an interface",
            f"1 to {INTERFACE_NAME_MAX} characters without space, slash or colon",
        )
    return encoded + b"\0"


def _link(index: int = 0, flags: int = 0, change: int = 0) -> bytes:
    """struct ifinfomsg, for any family and type."""
    return struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, flags, change)


def _family(address: Interface) -> int:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


class Netlink:
    """A NETLINK_ROUTE socket in one namespace. Every method is synchronous and confirmed by the kernel."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._number = 0
        self._one_at_a_time = threading.Lock()

    @classmethod
    def open(cls, netns_fd: int | None = None) -> "Netlink":
        """Open in the namespace (None: this process's own); the descriptor may be closed afterwards."""

        def channel() -> socket.socket:
            return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)

        opened = inside(netns_fd, channel)
        opened.bind((0, 0))
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", REPLY_LIMIT_S, 0))
        for option in (NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK):
            try:
                opened.setsockopt(SOL_NETLINK, option, 1)
            except OSError as error:
                if error.errno != errno.ENOPROTOOPT:
                    raise
                # An older kernel: its replies carry less text, its dumps more than was asked for. Both are dealt with.
        return cls(opened)

    def close(self) -> None:
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Interfaces

    def index(self, name: str) -> int:
        index: int = struct.unpack_from("=i", self._ask_device(SIOCGIFINDEX, name, "find interface"), 16)[0]
        return index

    def mac(self, name: str) -> bytes:
        return self._ask_device(SIOCGIFHWADDR, name, "read the MAC of interface")[18:24]

    def exists(self, name: str) -> bool:
        try:
            self.index(name)
        except KernelRefused as refused:
            if refused.errno != errno.ENODEV:
                raise
            return False
        return True

    def is_up(self, name: str) -> bool:
        flags: int = struct.unpack_from("=H", self._ask_device(SIOCGIFFLAGS, name, "read the state of interface"), 16)[
            0
        ]
        return bool(flags & IFF_UP)

    def veth(
        self,
        name: str,
        peer: str,
        *,
        peer_netns_fd: int | None = None,
        mac: bytes | None = None,
        peer_mac: bytes | None = None,
    ) -> None:
        """Make a veth pair; `peer` is made directly in the other namespace if one is given."""
        far = _link() + attribute(IFLA_IFNAME, _name(peer))
        if peer_mac is not None:
            far += attribute(IFLA_ADDRESS, peer_mac)
        if peer_netns_fd is not None:
            far += attribute(IFLA_NET_NS_FD, _number(peer_netns_fd))
        self._new_link(name, "veth", attribute(VETH_INFO_PEER, far), mac)

    def bridge(self, name: str, mac: bytes | None = None) -> None:
        """Make a bridge that forwards at once (no spanning tree, no forward delay, no multicast snooping)."""
        settings = (
            attribute(IFLA_BR_FORWARD_DELAY, _number(0))
            + attribute(IFLA_BR_STP_STATE, _number(0))
            + attribute(IFLA_BR_MCAST_SNOOPING, b"\0")
        )
        self._new_link(name, "bridge", settings, mac)

    def to_namespace(self, name: str, netns_fd: int, new_name: str | None = None) -> None:
        """Move the interface into another namespace (it arrives down and without addresses)."""
        wish = attribute(IFLA_NET_NS_FD, _number(netns_fd))
        if new_name is not None:
            wish += attribute(IFLA_IFNAME, _name(new_name))
        self._set_link(name, wish, f"move interface {name} into another namespace")

    def enslave(self, name: str, bridge: str) -> None:
        """Attach the interface to the bridge, both in this namespace."""
        wish = attribute(IFLA_MASTER, _number(self.index(bridge)))
        self._set_link(name, wish, f"attach interface {name} to bridge {bridge}")

    def up(self, name: str) -> None:
        self._request(RTM_SETLINK, 0, _link(self.index(name), IFF_UP, IFF_UP), f"set interface {name} up")

    def down(self, name: str) -> None:
        self._request(RTM_SETLINK, 0, _link(self.index(name), 0, IFF_UP), f"set interface {name} down")

    def delete(self, name: str) -> None:
        """Delete the interface (a veth with its other end); absent is fine."""
        body = _link() + attribute(IFLA_IFNAME, _name(name))
        try:
            self._request(RTM_DELLINK, 0, body, f"delete interface {name}")
        except KernelRefused as refused:
            if refused.errno != errno.ENODEV:
                raise

    def make_quiet(self, name: str) -> None:
        """Let the interface give itself no addresses: no link-local one, so no detection and solicitations either."""
        silence = attribute(IFLA_INET6_ADDR_GEN_MODE, bytes([IN6_ADDR_GEN_MODE_NONE]))
        self._set_link(
            name,
            attribute(IFLA_AF_SPEC, attribute(socket.AF_INET6, silence)),
            f"stop interface {name} from giving itself IPv6 addresses",
        )

    def fit_for_services(self, name: str) -> None:
        """Set what service addresses rely on: an address that goes takes no other with it, and ARP is exact."""
        settings = b"".join(
            attribute(key, _number(value))
            for key, value in (
                (IPV4_DEVCONF_PROMOTE_SECONDARIES, 1),
                (IPV4_DEVCONF_ARP_ANNOUNCE, 2),  # never ask with a service address as sender
                (IPV4_DEVCONF_ARP_IGNORE, 1),  # answer for this interface's addresses only
            )
        )
        wish = attribute(IFLA_AF_SPEC, attribute(socket.AF_INET, attribute(IFLA_INET_CONF, settings)))
        self._set_link(name, wish, f"set the ARP rules of interface {name}")

    # Addresses and routes

    def add_address(self, name: str, address: str) -> None:
        """Add an address of the machine's own (with prefix length); usable at once; there already is fine."""
        self.put_address(name, ip_interface(address))

    def put_address(self, name: str, address: Interface, flags: int = 0, preferred_s: int = FOR_EVER) -> None:
        """Add an address without duplicate address detection; there already is fine.

        An IPv6 address with `preferred_s` 0 answers, but is not chosen as source while there is another.
        """
        wish = IFA_F_NODAD | flags if address.version == 6 else flags
        scope = RT_SCOPE_LINK if address.is_link_local and address.version == 6 else RT_SCOPE_UNIVERSE
        body = (
            self._address_head(name, address, scope)
            + attribute(IFA_FLAGS, _number(wish))
            + attribute(IFA_CACHEINFO, struct.pack("=IIII", preferred_s, FOR_EVER, 0, 0))
        )
        try:
            self._request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, body, f"add {address} to interface {name}")
        except KernelRefused as refused:
            if refused.errno != errno.EEXIST:
                raise

    def drop_address(self, name: str, address: Interface) -> None:
        """Delete the address; absent is fine."""
        body = self._address_head(name, address, RT_SCOPE_UNIVERSE)
        try:
            self._request(RTM_DELADDR, 0, body, f"delete {address} from interface {name}")
        except KernelRefused as refused:
            if refused.errno != errno.EADDRNOTAVAIL:
                raise

    def addresses(self, name: str, family: int) -> list[HeldAddress]:
        """All addresses of one family (socket.AF_INET, socket.AF_INET6) on the interface."""
        index = self.index(name)
        ask = struct.pack("=BBBBI", family, 0, 0, 0, index)
        return [
            _held(message)
            for message in self._dump(RTM_GETADDR, ask, f"list the addresses of interface {name}")
            if struct.unpack_from("=I", message, 4)[0] == index
        ]

    def default_route(self, gateway: str) -> None:
        """Send what is for elsewhere to the gateway; replaces an earlier default route of that family."""
        target = ip_address(gateway)
        family = socket.AF_INET if target.version == 4 else socket.AF_INET6
        body = struct.pack(
            "=BBBBBBBBI", family, 0, 0, 0, RT_TABLE_MAIN, RTPROT_STATIC, RT_SCOPE_UNIVERSE, RTN_UNICAST, 0
        )
        body += attribute(RTA_GATEWAY, target.packed)
        self._request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, body, f"set the default route to gateway {gateway}")

    # Messages

    def request(self, kind: int, flags: int, body: bytes, what: str) -> None:
        """Send any other request of rtnetlink and have its acknowledgement; `what` names it in the error."""
        self._request(kind, flags, body, what)

    def _new_link(self, name: str, kind: str, data: bytes, mac: bytes | None) -> None:
        body = _link() + attribute(IFLA_IFNAME, _name(name))
        if mac is not None:
            body += attribute(IFLA_ADDRESS, mac)
        info = attribute(IFLA_INFO_KIND, kind.encode()) + attribute(IFLA_INFO_DATA, data)
        body += attribute(IFLA_LINKINFO, info)
        self._request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body, f"make {kind} {name}")

    def _set_link(self, name: str, wish: bytes, what: str) -> None:
        self._request(RTM_SETLINK, 0, _link(self.index(name)) + wish, what)

    def _address_head(self, name: str, address: Interface, scope: int) -> bytes:
        head = struct.pack("=BBBBI", _family(address), address.network.prefixlen, 0, scope, self.index(name))
        packed = address.ip.packed
        return head + attribute(IFA_LOCAL, packed) + attribute(IFA_ADDRESS, packed)

    def _ask_device(self, question: int, name: str, what: str) -> bytes:
        """Put one of the old device ioctls: they cost a tenth of the same question as a message."""
        try:
            return fcntl.ioctl(self._channel, question, _name(name).ljust(40, b"\0"))
        except OSError as error:
            raise KernelRefused(f"{what} {name}", error.errno or 0) from error

    def _send(self, kind: int, flags: int, body: bytes) -> None:
        self._number = self._number + 1 & 0xFFFFFFFF
        head = struct.pack("=IHHII", 16 + len(body), kind, NLM_F_REQUEST | flags, self._number, 0)
        self._channel.send(head + body)

    def _replies(self, what: str) -> Iterator[tuple[int, int, bytes]]:
        """Kind, flags and body of the messages that answer the last request."""
        while True:
            try:
                data = self._channel.recv(65536)
            except BlockingIOError as error:
                raise WorldError(f"cannot {what}: the kernel did not reply in {REPLY_LIMIT_S} s") from error
            at = 0
            while at + 16 <= len(data):
                length, kind, flags, number, _ = struct.unpack_from("=IHHII", data, at)
                if number == self._number:
                    yield kind, flags, data[at + 16 : at + length]
                at += max(length, 16) + 3 & ~3

    def _request(self, kind: int, flags: int, body: bytes, what: str) -> None:
        """Send a request and have its acknowledgement."""
        with self._one_at_a_time:
            self._send(kind, flags | NLM_F_ACK, body)
            for reply, reply_flags, answer in self._replies(what):
                if reply == NLMSG_ERROR:
                    _check(what, reply_flags, answer)
                    return

    def _dump(self, kind: int, body: bytes, what: str) -> list[bytes]:
        """Send a request for a list and have its entries."""
        entries: list[bytes] = []
        with self._one_at_a_time:
            self._send(kind, NLM_F_DUMP, body)
            for reply, reply_flags, answer in self._replies(what):
                if reply == NLMSG_DONE:
                    break
                if reply == NLMSG_ERROR:
                    _check(what, reply_flags, answer)
                else:
                    entries.append(answer)
        return entries


def _check(what: str, flags: int, answer: bytes) -> None:
    """Raise what an NLMSG_ERROR reply says, if it is not a plain acknowledgement."""
    code = -struct.unpack_from("=i", answer)[0]
    if code == 0:
        return
    text = ""
    if flags & NLM_F_ACK_TLVS:
        # Behind the code stands the request's head, and without CAPPED its body too.
        echoed = 16 if flags & NLM_F_CAPPED else struct.unpack_from("=I", answer, 4)[0] + 3 & ~3
        text = next((raw.rstrip(b"\0").decode() for kind, raw in attributes(answer[4 + echoed :]) if kind == 1), "")
    if code == errno.EPERM:
        raise MachineLacks(f"cannot {what}: the kernel replied EPERM", USUAL_CAUSE[code])
    raise KernelRefused(what, code, text)


def _held(message: bytes) -> HeldAddress:
    """An address out of an RTM_NEWADDR message."""
    _, prefix, flags, scope, _ = struct.unpack_from("=BBBBI", message)
    parts = dict(attributes(message[8:]))
    if IFA_FLAGS in parts:
        flags = struct.unpack("=I", parts[IFA_FLAGS])[0]
    packed = parts.get(IFA_LOCAL, parts.get(IFA_ADDRESS, b""))
    return HeldAddress(ip_interface((packed, prefix)), flags, scope)
