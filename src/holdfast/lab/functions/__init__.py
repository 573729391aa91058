"""Network functions to try Holdfast with. Each names its owner (the VNFC) and the epoch of its role in its answers."""
