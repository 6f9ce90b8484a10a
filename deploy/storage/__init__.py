"""What is kept in RocksDB: training checkpoints and serving versions.

    Training ── checkpoint ── checkpoint_store ──┐
    Learner ─── publish ─────────────────────────┼── rocksdb
    Scorer ──── versions ────────────────────────┘

- `rocksdb`: one store, bytes in and bytes out; nothing else knows RocksDB
- `checkpoint_store`: arrays in the store, of which a save writes only what has changed
- `checkpoint`: all that training must remember, as values and arrays, and back again
- `manifest`: a serving version's description of itself
- `versions`: serving versions read, every digest checked
- `publish`: serving versions written, and removed again
"""
