"""Every bound in one place: queues, histories, frames, retries."""

FRAME_BYTES_MAX = 1 << 20
"""Longest message on a link between agent and managers."""
COMPONENT_LINE_BYTES_MAX = 4096
"""Longest line of the component protocol."""
COMPONENT_LINES_PER_S_MAX = 2000
"""More from one component is a flood: its socket is closed and the VNFC counts as failed."""
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
