"""The simulated world, tested in itself."""
