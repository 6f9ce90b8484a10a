"""Compiled arithmetic that kernels of all rooms share: how they compile, hashes, memory lines."""
