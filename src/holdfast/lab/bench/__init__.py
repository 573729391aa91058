"""Failovers measured side by side: Holdfast and its peers on the same bridge, with the same function and client."""
