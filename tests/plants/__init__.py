"""Proof of the judges: known mistakes planted into the real modules, from outside, and found in the simulated world."""
