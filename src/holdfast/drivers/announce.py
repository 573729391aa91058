"""The frames by which an address is announced: gratuitous ARP and unsolicited neighbour advertisement.

In: the MAC and the address. Out: whole Ethernet frames, ready to be sent. Nothing here touches a socket.
"""

import struct
from ipaddress import IPv4Address, IPv6Address

ETH_P_IPV6, ETH_P_ARP = 0x86DD, 0x0806
EVERYBODY = b"\xff" * 6
ALL_NODES = IPv6Address("ff02::1")
ALL_NODES_MAC = bytes.fromhex("333300000001")
ARP_REQUEST, ARP_REPLY = 1, 2
NEIGHBOUR_ADVERTISEMENT, OVERRIDE, TARGET_LINK_LAYER_ADDRESS = 136, 0x20000000, 2
NEXT_HEADER_ICMPV6, HOP_LIMIT = 58, 255


def announcement(mac: bytes, address: IPv4Address | IPv6Address) -> tuple[bytes, ...]:
    """The frames that tell every neighbour that `address` is at `mac` from now on."""
    if isinstance(address, IPv6Address):
        return (neighbour_advertisement(mac, address),)
    # Some neighbours heed the request form only, some the reply form only.
    return (gratuitous_arp(mac, address, ARP_REQUEST), gratuitous_arp(mac, address, ARP_REPLY))


def gratuitous_arp(mac: bytes, address: IPv4Address, operation: int) -> bytes:
    """RFC 5227, 3: sender and target address are the same.

    Linux takes the reply form for gratuitous only if the target MAC is the sender's.
    """
    target_mac = mac if operation == ARP_REPLY else bytes(6)
    ethernet = EVERYBODY + mac + struct.pack("!H", ETH_P_ARP)
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation)
    return (ethernet + body + mac + address.packed + target_mac + address.packed).ljust(60, b"\0")


def neighbour_advertisement(mac: bytes, address: IPv6Address) -> bytes:
    """RFC 4861, 7.2.6: unsolicited, to all nodes, overriding what they knew."""
    option = struct.pack("!BB", TARGET_LINK_LAYER_ADDRESS, 1) + mac
    rest = struct.pack("!I", OVERRIDE) + address.packed + option
    head = struct.pack("!BB", NEIGHBOUR_ADVERTISEMENT, 0)
    length = len(head) + 2 + len(rest)
    pseudo = address.packed + ALL_NODES.packed + struct.pack("!II", length, NEXT_HEADER_ICMPV6)
    checksum = internet_checksum(pseudo + head + b"\0\0" + rest)
    ip = struct.pack("!IHBB", 6 << 28, length, NEXT_HEADER_ICMPV6, HOP_LIMIT) + address.packed + ALL_NODES.packed
    ethernet = ALL_NODES_MAC + mac + struct.pack("!H", ETH_P_IPV6)
    return ethernet + ip + head + struct.pack("!H", checksum) + rest


def internet_checksum(data: bytes) -> int:
    """RFC 1071: the complement of the one's complement sum of all 16-bit words."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
