"""The proof: worlds to break, faults, an outside probe, judges, and what people are shown of it."""
