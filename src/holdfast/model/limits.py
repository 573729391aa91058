"""Every bound in one place: queues, histories, frames, retries."""

FRAME_BYTES_MAX = 1 << 20
"""Longest message on a link between agent and managers."""
STRANGERS_FRAME_BYTES_MAX = 4096
"""Longest message of a caller that has not proved yet who it is."""
STRANGERS_MAX = 64
"""Callers at one place that have not proved yet who they are; when one more comes, the one that came first goes."""
COMPONENT_LINE_BYTES_MAX = 4096
"""Longest line of the component protocol."""
COMPONENT_LINES_PER_S_MAX = 2000
"""More from one component is a flood: its socket is closed and the VNFC counts as failed."""
COMPONENT_NEWS_PER_S_MAX = 200
"""More losses and returns of standbys are a flood, too: each of them is written down by the managers."""
COMPONENT_CALLS_PER_S_MAX = 200
"""More connections from one VNFC within a second are a flood as well."""
COMPONENT_SILENT_MAX = 8
"""Connections of one VNFC that have not said hello; when one more comes, the one that came first goes."""
COMPONENT_HELLO_LIMIT_S = 5.0
"""A connection on which nobody has said hello by then is closed."""
OUTCOMES_KEPT = 1024
"""Outcomes an agent remembers, so that a repeated action gets its old answer."""
MESSAGES_REMEMBERED = 256
"""Ids of received messages a manager remembers per sender, so that a repetition is dropped."""
INCIDENTS_KEPT = 64
"""Closed incidents a core keeps for `status`; older ones are in the journal only."""
PROMOTIONS_TRIED_MAX = 8
"""Successors tried for one interruption before the service is held."""
LINK_RETRY_S = 0.02
"""Pause between two attempts to connect a link."""
MESSAGE_REPEAT_S = 0.5
"""A message between managers that was not taken is sent again after this time."""
DESCRIPTOR_BYTES_MAX = 4 << 20
"""Largest descriptor file that is read."""
DESCRIPTOR_DEPTH_MAX = 24
"""Levels of nesting in a descriptor."""
DESCRIPTOR_NODES_MAX = 200_000
"""Values of a descriptor with its aliases unfolded (long texts count as several)."""
DESCRIPTOR_MISTAKES_MAX = 200
"""After so many, reading ends: nobody reads on, and to say what each of 200 000 may have meant takes hours."""
DESCRIPTOR_ENTITIES_MAX = 4096
"""Hosts, VMs, component types or VNFCs in one descriptor: each is compared with all others of its kind."""
NAME_LENGTH_MAX = 32
"""Longest name that may be given to a host, VM, VNF, component type, VNFM or deployment."""
MESSAGE_REPEAT_MAX_S = 8.0
"""The pause between two repetitions of a message doubles up to this."""
LINK_REFUSED_RETRY_S = 1.0
"""Pause after a peer that could not prove itself, or would not believe us."""
LINK_BUFFER_BYTES_MAX = 4 << 20
"""More that a peer has not read: the link is cut, and the peer learns how things are when it connects again."""
HANDSHAKE_LIMIT_S = 2.0
"""Both ends of a link must have proved themselves by then."""
ANNOUNCE_EVERY_S = 1.0
"""Addresses are announced again no more often than that, however often other hosts come and go."""
OTHER_PLACE_AFTER_S = 0.5
"""A call that is not answered by then is tried at the other place, where there is one."""
NEWS_KEPT = 256
"""News (of standbys lost or synced) an agent keeps for a manager that has not taken them."""
REPAIRS_AT_ONCE = 4
"""VMs, and components, that are started again at the same time on one host; the others wait for their turn."""
BUG_PAUSE_S = 1.0
"""After a core failed on a deadline, that deadline is tried again no sooner."""
TIME_KEPT_S = 5.0
"""A manager whose state may go on elsewhere saves how far time has come so often at least."""
STORE_TIDY_S = 5.0
"""Housekeeping of the store is done at most so often, when nothing else is to do."""
RESTARTS_AT_ONCE = 5
"""Processes that end more often than this within RESTARTS_WITHIN_S are started again with a growing pause."""
RESTARTS_WITHIN_S = 5.0
RESTART_PAUSE_MAX_S = 5.0
END_LIMIT_S = 30.0
"""How long the end of a deployment may take before what is left is killed."""
FIRST_CHOICE_WAIT_S = 2.0
"""At the very first start a service waits that long for the VNFC named first in the descriptor."""
ORDERS_KNOWN_WAIT_S = 2.0
"""A switchover is refused if agents have not acknowledged the order that it needs within this time."""
ADJUSTING_LASTS = 10
"""A service that was given back by itself and is elsewhere again before so many times the wait has not stayed."""
ADJUSTING_DOUBLED_MAX = 6
"""The wait before it is given back again doubles each time that it has not stayed, up to this often."""
CONFIRM_AGAIN_S = 0.25
"""Pause before the loss of a standby is recorded again that could not be recorded: its active waits for it."""
VM_NEWS_WAIT_S = 5.0
"""An HA manager that finds a VM gone asks for its repair itself if it hears nothing of it for this long."""
UP_MARGIN_S = 20.0
"""`up` waits for its services this much longer than its VMs and components may take to start."""
ETCD_TRY_S = 0.25
"""How long one etcd member may take for an answer before the next one is asked."""
ETCD_TRY_GROWTH = 1.5
"""Each round may take so much longer: a slow cluster is not asked again and again for nothing."""
ETCD_LIMIT_S = 4.0
"""How long a load or save may take in all: longer than an election of etcd (1.6 s), short enough for a person."""
ETCD_PAUSE_S = 0.1
"""Pause after every member has refused; also the first pause after a write that failed."""
ETCD_PAUSE_MAX_S = 1.0
ETCD_ANSWER_BYTES_MAX = 64 << 20
"""Largest answer of etcd that is read."""
ETCD_IDLE_CONNECTIONS_MAX = 4
"""Connections kept open a member, for the next request."""
ETCD_PIECES = 8
"""Pieces of a big mapping of a manager's state: all pieces of all of them are fewer than a transaction may have."""
ETCD_TXN_PARTS_MAX = 100
"""Parts changed in one transaction; etcd itself refuses more than 128 operations."""
ETCD_TXN_BYTES_MAX = 1 << 20
"""Bytes in one transaction where there is a choice; etcd itself refuses more than 1.5 MiB."""
STORE_BEHIND_ALARM_S = 1.0
"""Changes that wait longer than this for the store raise an alarm."""
LEADER_LENGTH_S = 1.5
"""How long a leader of the managers holds without being renewed: about as long as an election of etcd."""
GIVE_WAY_AFTER_S = 1.0
"""A leader that does not reach an agent, whose host others hear, lets somebody else try after this time."""
LEADER_RENEW_S = 0.25
"""Pause between two renewals of the leadership."""
LEADER_ASK_S = 2.5 * LEADER_RENEW_S
"""Who has heard of no renewal for so long asks the store: the member that should have told may be gone, too."""
LEADER_MARGIN = 0.1
"""Share of the length by which a leader stops deciding before anybody else may begin."""
STORE_BEHIND_BYTES_MAX = 64 << 20
"""More than this waiting for the store: further changes are refused until it has caught up."""
