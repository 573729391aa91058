"""A live deployment under random faults, for as long as one likes: episodes of faults, each judged as it ends."""
