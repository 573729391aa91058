"""Holdfast keeps network functions in service when a process, a VM or a host fails."""

__version__ = "0.1.0"
