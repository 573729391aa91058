"""What a person is shown of a run: merged journal, timeline, sequence chart, table, and the stable JSON."""
