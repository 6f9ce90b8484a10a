"""What is kept in RocksDB: training checkpoints and serving versions."""
