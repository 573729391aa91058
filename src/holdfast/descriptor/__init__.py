"""Descriptors: what people write, read (every mistake at its line), resolved into a Layout, surveyed."""

from holdfast.descriptor.loading import EXPLAINED, check, check_text, load, schema
from holdfast.descriptor.mistakes import Mistake, Warning_
from holdfast.descriptor.survey import Finding, survey

__all__ = ["EXPLAINED", "Finding", "Mistake", "Warning_", "check", "check_text", "load", "schema", "survey"]
