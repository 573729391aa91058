"""OCF resource agents: called by their own contract (environment, action as argument, exit status).

In: what the descriptor says about the agent. Out: the command and environment of one action, and what an exit
status means. Nothing is run here.
"""

from collections.abc import Mapping
from pathlib import Path

from holdfast.errors import WorldError
from holdfast.model.layout import OcfAgent

ROOT = Path("/usr/lib/ocf")
SUCCESS, NOT_RUNNING = 0, 7
MEANINGS = {
    0: "success",
    1: "generic error",
    2: "wrong parameters",
    3: "action not implemented",
    4: "insufficient privileges",
    5: "a program that it needs is not installed",
    6: "not configured rightly",
    7: "not running",
    8: "running as promoted",
    9: "failed as promoted",
}


def program(agent: OcfAgent) -> Path:
    """Where the agent is. WorldError when it is not installed."""
    path = ROOT / "resource.d" / agent.provider / agent.agent
    if not path.is_file():
        raise WorldError(
            f"OCF agent ocf:{agent.provider}:{agent.agent} is not installed (no file {path})",
            "install the package resource-agents, or correct the name",
        )
    return path


def environment(
    agent: OcfAgent, instance: str, parameters: Mapping[str, str], folder: Path, limit_s: float
) -> dict[str, str]:
    """What an agent finds in its environment. `parameters` have their placeholders replaced already."""
    variables = {
        "OCF_ROOT": str(ROOT),
        "OCF_RA_VERSION_MAJOR": "1",
        "OCF_RA_VERSION_MINOR": "0",
        "OCF_RESOURCE_INSTANCE": instance,
        "OCF_RESOURCE_TYPE": agent.agent,
        "OCF_RESOURCE_PROVIDER": agent.provider,
        "OCF_RESKEY_CRM_meta_timeout": str(int(limit_s * 1000)),
        "HA_RSCTMP": str(folder / "ocf"),
        "HA_LOGFACILITY": "none",
    }
    return variables | {f"OCF_RESKEY_{name}": value for name, value in parameters.items()}


def meaning(status: int) -> str:
    """An exit status in words."""
    if status < 0:
        return f"killed by signal {-status}"
    return f"{MEANINGS.get(status, 'unknown status')} ({status})"
