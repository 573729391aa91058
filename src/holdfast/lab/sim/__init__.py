"""The simulated world: the same cores and the same runtime as live, in one thread, under one seed; time jumps."""
