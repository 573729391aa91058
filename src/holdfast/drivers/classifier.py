"""Programs at the two sides of an interface (tc, qdisc clsact): put there, replaced at once, taken away.

They stay with the interface when the process that put them there ends.
"""

import errno
import struct
import zlib
from typing import Literal

from holdfast.drivers.netlink import NLM_F_CREATE, NLM_F_EXCL, KernelRefused, Netlink, attribute
from holdfast.errors import MachineLacks

RTM_NEWQDISC, RTM_NEWFILTER, RTM_DELFILTER = 36, 44, 45
TCA_KIND, TCA_OPTIONS, TCA_BPF_FD, TCA_BPF_NAME, TCA_BPF_FLAGS, DIRECT_ACTION = 1, 2, 6, 7, 8, 1
CLSACT, CLSACT_HANDLE = 0xFFFFFFF1, 0xFFFF0000
SIDES = {"ingress": 0xFFFFFFF2, "egress": 0xFFFFFFF3}
PRIORITY = 7
EVERY_PROTOCOL = 0x0300  # ETH_P_ALL in network order

Side = Literal["ingress", "egress"]


def attach(netlink: Netlink, interface: str, side: Side, program_fd: int, name: str) -> None:
    """Let the program look at each frame; one of the same name that is there already is replaced without a gap."""
    index = netlink.index(interface)
    what = f"put a program at the {side} of interface {interface}"
    try:
        body = struct.pack("=BxxxiIII", 0, index, CLSACT_HANDLE, CLSACT, 0) + attribute(TCA_KIND, b"clsact\0")
        netlink.request(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, body, what)
    except KernelRefused as refused:
        if refused.errno == errno.ENOENT:
            raise MachineLacks(f"{refused.message}: no qdisc clsact", "this kernel lacks NET_SCH_INGRESS") from refused
        if refused.errno != errno.EEXIST:
            raise
    options = (
        attribute(TCA_BPF_FD, struct.pack("=I", program_fd))
        + attribute(TCA_BPF_NAME, name.encode() + b"\0")
        + attribute(TCA_BPF_FLAGS, struct.pack("=I", DIRECT_ACTION))
    )
    body = _filter(index, side, name) + attribute(TCA_KIND, b"bpf\0") + attribute(TCA_OPTIONS, options)
    netlink.request(RTM_NEWFILTER, NLM_F_CREATE, body, what)


def detach(netlink: Netlink, interface: str, side: Side, name: str) -> None:
    """Take the program of that name away; absent is fine, and so is an interface that is gone."""
    what = f"take the program away from the {side} of interface {interface}"
    try:
        body = _filter(netlink.index(interface), side, name) + attribute(TCA_KIND, b"bpf\0")
        netlink.request(RTM_DELFILTER, 0, body, what)
    except KernelRefused as refused:
        if refused.errno not in (errno.ENODEV, errno.ENOENT, errno.EINVAL):
            raise


def _filter(index: int, side: Side, name: str) -> bytes:
    # The handle tells programs of several deployments apart.
    handle = zlib.crc32(name.encode()) | 1
    return struct.pack("=BxxxiIII", 0, index, handle, SIDES[side], PRIORITY << 16 | EVERY_PROTOCOL)
