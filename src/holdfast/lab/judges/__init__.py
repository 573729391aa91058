"""Judges: what comes in is evidence (journals, the probe's file, the owners' file), what goes out is a verdict.

They share no code with the parts they judge: of Holdfast they import `holdfast.model` alone.
"""
