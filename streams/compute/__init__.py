"""Compiled arithmetic that kernels of all rooms share: how they compile, hashes, memory lines.

- `aligned`: arrays that start at a cache line
- `arrays`: the arrays that kernels take: their types, named by their dtype, and how they are made
  alike
- `floats`: numbers of any width as float64
- `intrinsics`: instructions of the processor beyond arithmetic, in plain Python without Numba
- `jit`: the one way kernels are compiled: Numba with the options that a reproducible run needs
- `murmur2`: MurmurHash2 as Kafka's default partitioner uses it: which partition an id belongs to
- `murmur3`: MurmurHash3 x64 128 of every string of an Arrow array, straight from its buffers
- `splitmix`: SplitMix64: 64 bits mixed until they look random
"""

__all__ = ["aligned", "arrays", "floats", "intrinsics", "jit", "murmur3", "splitmix"]
