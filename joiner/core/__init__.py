"""The join: events in, labelled examples out; no clock, no file, no Kafka."""
