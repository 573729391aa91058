"""Descriptors: what people write, read (every mistake at its line), resolved into a Layout, surveyed."""

from holdfast.descriptor.loading import check, check_text, load, schema
from holdfast.descriptor.mistakes import Mistake, Warning_
from holdfast.descriptor.survey import Finding, survey

__all__ = ["Finding", "Mistake", "Warning_", "check", "check_text", "load", "schema", "survey"]
