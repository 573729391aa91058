"""State of components: replicated from active to standby (SY-1), or kept as checkpoints in a folder (SY-3).

Standard library only; imported by components.
"""
