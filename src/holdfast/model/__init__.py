"""The words of Holdfast: entities, events, actions, messages, reasons, journal records.

Frozen data without behaviour beyond checks on construction. Nothing here can touch the world.
Times are seconds (float) on the machine's monotonic clock; durations end in `_s`.
"""
