"""A candidate for the leadership; in a process of its own: `python -m tests.contract.etcd_candidate ADDRESS NAME`.

Prints a line of JSON for each moment at which it begins or ends to hold, or learns of its standing: `at` on the
monotonic clock, which all processes of a machine share. SIGTERM: resigns, then ends.
"""

import asyncio
import json
import secrets
import signal
import sys
import time
from collections.abc import Callable

from holdfast.store.etcd_client import EtcdClient
from holdfast.store.etcd_leadership import Campaign, Standing
from holdfast.store.etcd_target import parse_target
from holdfast.store.leadership import Leadership

LOOK_S = 0.002
Told = Callable[[bool, int], None]
"""`told(holds, term)`"""


async def take_part(client: EtcdClient, leadership: Leadership, told: Told, end: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    campaign = Campaign(client, leadership, lambda standing: tell(standing))
    held = False

    def tell(standing: Standing) -> None:
        told(campaign.holds(), standing.term)

    def look() -> None:
        # As a manager would: asks each time before it decides.
        nonlocal held
        if campaign.holds() != held:
            held = not held
            tell(campaign.standing)
        loop.call_later(LOOK_S, look)

    look()
    try:
        await campaign.start()
        await end.wait()
        await campaign.resign()
    finally:
        await campaign.close()
        await client.close()


async def as_process(address: str, name: str) -> None:
    end = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end.set)

    def told(holds: bool, term: int) -> None:
        print(json.dumps({"at": time.monotonic(), "holds": holds, "term": term}), flush=True)

    await take_part(EtcdClient(parse_target(address)), Leadership(name, secrets.token_hex(8)), told, end)


if __name__ == "__main__":
    asyncio.run(as_process(sys.argv[1], sys.argv[2]))
