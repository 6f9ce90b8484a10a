"""`clickloop bench`: how fast this machine is, and others' tools beside it."""
