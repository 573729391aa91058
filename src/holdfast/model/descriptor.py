"""What people write: the keys of a descriptor, what each may hold, and what it is for.

In: plain data whose scalars are all text (see `holdfast.descriptor.tree`); out: frozen models. They check shape, words
and units of each value by itself; what values mean together is checked where they are resolved into a `Layout`.
Nothing is required here, so that the reader can drop what is wrong and go on to find the next mistake. JSON Schema and
the tables in docs/descriptor.md are generated from these models.
"""

import re
import shlex
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from holdfast.model.layout import GrantProfile, RepairPolicy
from holdfast.model.names import Redundancy, Reserve, StateKind

FORMAT = 1
FENCE_LEVELS_MAX = 9
CHECK_KINDS = ("process", "tcp", "http", "command", "protocol")

_DURATION = r"^([0-9]+(?:\.[0-9]+)?) ?(us|ms|s|m|h)$"
_UNITS = {"us": Decimal("1e-6"), "ms": Decimal("1e-3"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600)}
_DURATION_MAX_S = 30 * 86400


def _expected(what: str, hint: str = "") -> PydanticCustomError:
    return PydanticCustomError("holdfast", "{expected}", {"expected": what, "hint": hint})


def _duration(value: Any) -> Any:
    if isinstance(value, float):
        return value
    if not isinstance(value, str):
        raise _expected("a time with its unit, such as 100ms, 5s or 2m")
    match = re.match(_DURATION, value, re.ASCII)
    if match is None:
        bare = re.match(r"^[0-9]{1,9}(\.[0-9]{1,9})?$", value, re.ASCII)
        hint = f"write {value}s if seconds are meant, {value}ms if milliseconds" if bare else ""
        raise _expected("a time with its unit, such as 100ms, 5s or 2m", hint)
    seconds = float(Decimal(match[1][:40]) * _UNITS[match[2]])
    if not 0 < seconds <= _DURATION_MAX_S:
        raise _expected("a time above zero and of 30 days at most")
    return seconds


def _words(value: Any) -> Any:
    """A command: a list of words, or a line that is split as a shell would (but no shell runs)."""
    if isinstance(value, str):
        try:
            value = shlex.split(value)
        except ValueError as error:
            raise _expected("a command line with its quotes closed", str(error).lower()) from None
    if not isinstance(value, list | tuple) or any(not isinstance(word, str) for word in value):
        raise _expected("a command: a line, or a list of words")
    if not value or not value[0]:
        raise _expected("a command that names a program")
    return tuple(value)


def _text(value: Any) -> Any:
    if isinstance(value, int | float):  # only from Python: YAML's scalars arrive as text
        return str(value)
    return value


def _storage(value: Any) -> Any:
    if value in ("yes", "true", "on", "True", "Yes", True):
        return "yes"
    if value in ("no", "false", "off", "False", "No", False):
        return ""
    if isinstance(value, str) and (value == "" or re.match(r"^/[^\0]{1,255}$", value)):
        return value
    raise _expected("yes, no, or the absolute path of a folder")


def _several(value: Any) -> Any:
    """One word where a list is meant is a list of one."""
    return [value] if isinstance(value, str) else value


def _port_asked(value: Any) -> Any:
    """A port, or `interface` for the port of the interface (0 in the model)."""
    if value == "interface":
        return 0
    if not re.match(r"^[0-9]{1,5}$", str(value), re.ASCII) or not 1 <= int(value) <= 65535:
        raise _expected("a port from 1 to 65535, or no value for the interface's port")
    return int(value)


Duration = Annotated[
    float,
    BeforeValidator(_duration),
    WithJsonSchema({"type": "string", "pattern": _DURATION, "title": "duration", "examples": ["100ms", "5s", "2m"]}),
]
Words = Annotated[
    tuple[str, ...],
    BeforeValidator(_words),
    WithJsonSchema(
        {
            "title": "command",
            "anyOf": [
                {"type": "string", "minLength": 1},
                {"type": "array", "items": {"type": "string"}, "minItems": 1},
            ],
        }
    ),
]
Text = Annotated[
    str, BeforeValidator(_text), WithJsonSchema({"type": ["string", "number", "boolean"], "title": "text"})
]
Names = Annotated[
    tuple[str, ...],
    BeforeValidator(_several),
    WithJsonSchema({"title": "names", "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
Storage = Annotated[
    str, BeforeValidator(_storage), WithJsonSchema({"type": ["boolean", "string"], "title": "yes, no or folder"})
]
PortAsked = Annotated[
    int,
    BeforeValidator(_port_asked),
    WithJsonSchema(
        {"title": "port", "anyOf": [{"type": "integer", "minimum": 1, "maximum": 65535}, {"const": "interface"}]}
    ),
]
Port = Annotated[int, Field(ge=1, le=65535)]
Count = Annotated[int, Field(ge=1, le=1000)]


def written(field: str) -> str:
    """The key by which a field is written: `acknowledgement_within` as `acknowledgement-within`."""
    return field.replace("_", "-")


def _with_required(keys: tuple[str, ...]) -> Any:
    """The JSON Schema names the keys that are asked for when the descriptor is resolved."""

    def change(schema: dict[str, Any]) -> None:
        schema["required"] = list(keys)

    return change


class Written(BaseModel):
    """Base of all parts of a descriptor: unknown keys are mistakes, a key without a value is a key not written."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=written)

    @model_validator(mode="before")
    @classmethod
    def without_blanks(cls, value: Any) -> Any:
        if value is None:
            return {}
        return {key: part for key, part in value.items() if part is not None} if isinstance(value, dict) else value


class EscalationText(Written):
    """When failures have become too many for this fault zone, so that the next wider one is told."""

    maximum: Count | None = Field(default=None, description="failures that are repaired in this zone")
    probation: Duration | None = Field(
        default=None, description="time, from the first of them, in which they are counted"
    )


class FenceText(Written):
    """The device that can switch a host off."""

    model_config = ConfigDict(json_schema_extra=_with_required(("agent",)))

    agent: str = Field(default="", description="ClusterLabs fence agent, such as `fence_ipmilan`")
    options: dict[str, Text] = Field(
        default={}, description="options of the agent, as it names them on its standard input"
    )
    within: Duration = Field(default=20.0, description="time limit for switching and its confirmation by `status`")


def _levels(value: Any) -> Any:
    """One device is one level; a level that is not a list is a list of one device."""
    if value is None or isinstance(value, dict | FenceText):
        return ((value,),)
    if not isinstance(value, list | tuple) or len(value) > FENCE_LEVELS_MAX:
        raise _expected(f"a fence device, or a list of {FENCE_LEVELS_MAX} levels at most")
    levels = tuple(tuple(level) if isinstance(level, list | tuple) else (level,) for level in value)
    if not all(levels):
        raise _expected("at least one device in each level", "leave the level out")
    return levels


FenceLevelsText = Annotated[
    tuple[tuple[FenceText, ...], ...],
    BeforeValidator(_levels, json_schema_input_type=FenceText | list[FenceText | list[FenceText]]),
]


class GrantsText(Written):
    """Exclusivity by grants: a majority of the hosts agrees who is active; a profile may be written alone."""

    profile: GrantProfile = Field(
        default="default",
        description="`fast` (heartbeat 10 ms, grant 50 ms), `default` (50 ms, 250 ms), `wan`: how soon a host counts "
        "as failed, and for how long it may answer unheard",
    )
    heartbeat: Duration | None = Field(default=None, description="in place of the profile's")
    grant: Duration | None = Field(
        default=None, description="in place of the profile's; `holdfast tune` proposes lengths that suit the hosts"
    )
    port: int = Field(default=7400, description="UDP port of the agents; the managers use TCP on the next one")

    @model_validator(mode="before")
    @classmethod
    def may_be_bare(cls, value: Any) -> Any:
        return {"profile": value} if isinstance(value, str) else value


class HostText(Written):
    """A machine that runs VMs and VNFCs."""

    addresses: Names = Field(
        default=(),
        description="the host's own addresses: on the bridge, and one on the second network; drawn from the subnets",
    )
    bridge: str = Field(default="hf0", description="name of the bridge that VMs are attached to")
    fence: FenceLevelsText = Field(
        default=(),
        description="how the host is switched off when it has failed: a device, or a list of levels that are tried in "
        "order, each a device or a list of devices that all must succeed",
    )
    witness: bool = Field(default=False, description="only votes on grants; nothing is placed there")
    escalation: EscalationText | None = Field(
        default=None, description="more than `maximum` different VMs in error point to the host (1 in 5m)"
    )


class VmText(Written):
    """A virtual machine: on this machine a sandbox with its own processes, network and files."""

    host: str = Field(default="", description="the host it runs on; may be left out where there is only one")
    address: Names = Field(
        default=(), description="its own address, or one of IPv4 and one of IPv6; drawn from the subnets"
    )
    repair: RepairPolicy | None = Field(
        default=None,
        description="what the VIM does when the VM has failed: `negotiated` restarts after each VNFM concerned has "
        "said that it is safe; `initial`, `snapshot`, `standby-vm` restart at once in that way; `none` only alarms "
        "(negotiated)",
    )
    standby_vm: str = Field(default="", description="VM that replaces this one, for repair `standby-vm`")
    acknowledgement_within: Duration = Field(
        default=1.0, description="silence of a VNFM after which an alarm is raised"
    )
    boot_within: Duration = Field(default=30.0, description="time limit for a start of the VM")
    isolate_within: Duration = Field(default=2.0, description="time limit for ending the VM")
    escalation: EscalationText | None = Field(
        default=None, description="more than `maximum` failures of the VM are an error of its host (3 in 5m)"
    )


class OperationText(Written):
    """A command with a time limit of its own; a command alone may be written in its place."""

    model_config = ConfigDict(json_schema_extra=_with_required(("command",)))

    command: Words = Field(default=(), description="a line (split as a shell would; no shell runs), or a list of words")
    within: Duration | None = Field(default=None, description="time limit of the command")

    @model_validator(mode="before")
    @classmethod
    def may_be_bare(cls, value: Any) -> Any:
        return {"command": value} if isinstance(value, str | list) else value


class OcfText(Written):
    """A resource agent by the OCF contract, in place of start, stop and role commands."""

    model_config = ConfigDict(json_schema_extra=_with_required(("agent",)))

    agent: str = Field(default="", description="`ocf:<provider>:<agent>`, such as `ocf:heartbeat:nginx`")
    parameters: dict[str, Text] = Field(default={}, description="the agent's parameters, by the names in its meta-data")

    @model_validator(mode="before")
    @classmethod
    def may_be_bare(cls, value: Any) -> Any:
        return {"agent": value} if isinstance(value, str) else value


class CheckText(Written):
    """One way to ask a VNFC whether it is well: exactly one of the first five keys; or the kind alone."""

    process: bool | None = Field(default=None, description="the process has not ended (always checked)")
    tcp: PortAsked | None = Field(
        default=None, description="a TCP connection to this port is accepted; without a value, to the interface's port"
    )
    http: PortAsked | None = Field(
        default=None, description="an HTTP request to this port is answered; without a value, to the interface's port"
    )
    command: Words | None = Field(default=None, description="a command that ends with 0 when all is well")
    protocol: bool | None = Field(default=None, description="the component answers on its socket that it is well")
    path: str | None = Field(default=None, description="path of the HTTP request (/)")
    status: Annotated[int, Field(ge=100, le=599)] | None = Field(default=None, description="wanted HTTP status (200)")
    every: Duration | None = Field(default=None, description="time between two checks; from the SAL target")
    within: Duration | None = Field(default=None, description="time in which the answer must come; from the SAL target")
    misses: Count | None = Field(default=None, description="checks in a row that must fail (3)")

    @model_validator(mode="before")
    @classmethod
    def may_be_bare(cls, value: Any) -> Any:
        blank = {"process": "yes", "tcp": "interface", "http": "interface", "protocol": "yes"}
        if isinstance(value, str):
            if value not in blank:
                raise _expected(f"one of {', '.join(blank)}, or a mapping such as {{tcp: 80}} or {{command: ...}}")
            return {value: blank[value]}
        if not isinstance(value, dict):
            return value
        return {key: blank.get(key) if part is None else part for key, part in value.items()}

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(
            kind for kind in CHECK_KINDS if getattr(self, kind) is not None and getattr(self, kind) is not False
        )


class ReplicationText(Written):
    """How the active one passes its state to its standbys."""

    model_config = ConfigDict(json_schema_extra=_with_required(("port",)))

    port: Port | None = Field(
        default=None, description="TCP port, on each VM's own address, of the channel between them"
    )
    mode: Literal["synchronous", "periodic"] = Field(
        default="synchronous",
        description="an update is acknowledged when the standbys have it, or passed on every `period`",
    )
    period: Duration | None = Field(default=None, description="for `periodic`: time between two passings (100ms)")


class LimitsText(Written):
    """How long things may take before they count as failed."""

    start: Duration | None = Field(
        default=None, description="from the start to the first good answer of all checks (10s)"
    )
    role: Duration | None = Field(default=None, description="for a change of role; from the SAL target")
    cleanup: Duration | None = Field(default=None, description="for cleaning up after a failure; from the SAL target")


class InterfaceText(Written):
    """Where clients find the service."""

    address: str = Field(default="", description="the address that only the active one holds (VIP), IPv4 or IPv6")
    addresses: Names = Field(default=(), description="with several actives: one address each, in place of `address`")
    port: Port | None = Field(default=None, description="port of the service")
    transport: Literal["tcp", "udp"] | None = Field(default=None, description="(tcp)")
    assigned_by: Literal["ha-manager", "component"] = Field(
        default="ha-manager", description="who adds the address: Holdfast, or the component as part of becoming active"
    )


class ComponentText(Written):
    """A component type: its instances (VNFCs) protect one another. Written straight under the VNF if it has one."""

    redundancy: Redundancy | None = Field(
        default=None,
        description="`2N`: one active; `N+M`: several actives; `no-redundancy`: restarted where it was "
        "(2N with several places, else no-redundancy)",
    )
    state: StateKind = Field(
        default="none", description="state that a failure could lose: `internal`, or `external` in storage"
    )
    reserve: Reserve | None = Field(
        default=None,
        description="what waits beside the actives: `standby` holds the state, `spare` runs without it, `late-spare` "
        "is started after the failure (standby with internal state, else spare)",
    )
    place: Names = Field(
        default=(), description="VMs (or hosts), one VNFC each; first the actives, then their successors"
    )
    actives: Count | None = Field(
        default=None, description="for `N+M`: how many of the places are active (all but one)"
    )
    auto_adjust: Duration | None = Field(
        default=None,
        description="a service goes back to the place named first when that one has been well, and has held its state, "
        "for this long; not what a person has moved away (it stays where it is)",
    )
    anti_affinity: Literal["vm", "host", "none"] = Field(default="vm", description="what no two of its VNFCs may share")
    interface: InterfaceText | None = Field(default=None, description="where clients find the service")
    after: Names = Field(default=(), description="component types (or VNFs) that must provide their service first")
    start: OperationText | None = Field(
        default=None, description="command that runs the component and stays in the foreground"
    )
    stop: OperationText | None = Field(default=None, description="command that ends it in good order (else SIGTERM)")
    cleanup: OperationText | None = Field(
        default=None, description="command that must succeed before a failed VNFC counts as isolated"
    )
    become_active: OperationText | None = Field(default=None, description="command that makes it active")
    become_standby: OperationText | None = Field(default=None, description="command that makes it standby")
    ocf: OcfText | None = Field(default=None, description="OCF resource agent, in place of these commands")
    speaks: bool | None = Field(default=None, description="it speaks the component protocol (yes with `replication`)")
    checks: tuple[CheckText, ...] | None = Field(
        default=None, description="how it is asked whether it is well (process; with `speaks`, protocol too)"
    )
    limits: LimitsText = Field(default=LimitsText(), description="how long start, change of role and cleanup may take")
    files: dict[str, str] = Field(
        default={}, description="files written into its folder before each start: path and content"
    )
    environment: dict[str, Text] = Field(default={}, description="environment variables of its commands")
    replication: ReplicationText | None = Field(default=None, description="how state goes from active to standby")
    storage: Storage = Field(
        default="", description="folder shared by the whole VNF, for checkpoints: `yes`, or its path"
    )


class VnfText(ComponentText):
    """A network function. With one component type its keys stand here; with several, under `components`."""

    sal: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=1, description="service availability level: 1, 2 or 3, see `sal-thresholds`"
    )
    vnfm: str = Field(default="default", description="name of the VNFM that is in charge of its life")
    report: bool = Field(default=True, description="whether the HA manager reports errors to the VNFM")
    escalation: EscalationText | None = Field(
        default=None, description="more than `maximum` failures of VNFCs are an error of their VM (3 in 60s)"
    )
    components: dict[str, ComponentText] = Field(default={}, description="several component types, by name")


class NetworkText(Written):
    """Where addresses come from."""

    subnet: str = Field(default="10.77.0.0/24", description="IPv4 subnet, or `none`")
    subnet6: str = Field(default="fd77::/64", description="IPv6 subnet, or `none`")
    second_subnet: str = Field(
        default="none",
        description="subnet (IPv4 or IPv6) of a second network, which joins the hosts alone: heartbeats, grants and "
        "the managers' links go over both",
    )


class DescriptorText(Written):
    """A whole deployment."""

    model_config = ConfigDict(
        title="Holdfast descriptor",
        json_schema_extra=_with_required(("holdfast", "name", "vnfs")),
    )

    holdfast: int | None = Field(
        default=None, description="version of this format: 1", json_schema_extra={"const": FORMAT}
    )
    name: str = Field(default="", description="name of the deployment")
    network: NetworkText = Field(default=NetworkText(), description="where addresses come from")
    sal_thresholds: dict[Annotated[int, Field(ge=0, le=1000)], Duration] = Field(
        default={}, description="longest outage by service availability level (1: 6s, 2: 15s, 3: 25s)"
    )
    grants: GrantsText | None = Field(
        default=None,
        description="who may be active is agreed by a majority of the hosts (three, or two and a witness, are best)",
    )
    hosts: dict[str, HostText] = Field(default={}, description="machines, by name (one, called `this`)")
    vms: dict[str, VmText] = Field(default={}, description="virtual machines, by name")
    vnfs: dict[str, VnfText] = Field(default={}, description="network functions, by name")
