"""A program on a leash: it ends with this process however that ends, and at its limit even if this one stands still.

In:   a command and its limit.
Out:  the command that starts it so.
Always: the program and all that it starts live in a PID namespace of their own. The kernel ends that as a whole when
the program itself is over, when its limit has passed, or when this process (the thread that started it) is gone.
Nothing in it can detach itself from that.

A manager that is killed while it has a host switched off must not leave somebody behind who does it later.
"""

import os
import shutil
from collections.abc import Sequence

from holdfast.errors import MachineLacks

GRACE_S = 1.0
"""Whoever waits for the program ends it at its limit, and knows to say so; this limit is for when nobody waits."""

_HELPERS = {"setpriv": "util-linux", "unshare": "util-linux", "timeout": "coreutils"}
_STILL_OURS = '[ "$PPID" = "$1" ] || exit 1; shift; exec "$@"'
"""Whoever started it may be gone before the kernel was told what to do then."""


def leashed(command: Sequence[str], limit_s: float) -> list[str]:
    """The command to start instead, from the thread that lives as long as this process.

    Raises:
        MachineLacks: a program that this needs is not there.
    """
    for helper, package in _HELPERS.items():
        if shutil.which(helper) is None:
            raise MachineLacks(f"the program {helper} is not there", f"install the package {package}")
    namespaces = ["--pid"] if os.geteuid() == 0 else ["--user", "--map-current-user", "--pid"]
    return [
        *["setpriv", "--pdeathsig", "KILL", "sh", "-c", _STILL_OURS, "sh", str(os.getpid())],
        *["unshare", *namespaces, "--fork", "--kill-child=KILL", "--"],
        *["timeout", "--signal=KILL", f"{limit_s + GRACE_S:.3f}", *command],
    ]
