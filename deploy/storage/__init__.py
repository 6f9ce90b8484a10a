"""What is kept in RocksDB: training checkpoints and serving versions.

- `checkpoint`: training checkpoints: all that training must remember, as values and arrays, and
  back again
- `checkpoint_store`: arrays in the store, of which a save writes only what has changed
- `manifest`: what a serving version says of itself
- `rocksdb`: the RocksDB that holds a run's serving versions: bytes in, bytes out, one atomic
  write
- `versions`: serving versions in the store: non-zero weights in q2.13, the bias, and a manifest
"""
