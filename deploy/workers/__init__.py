"""Long-running workers on Kafka."""
