"""One partition's joiner as a state machine: claims, cuts, recovery; no clock, no Kafka."""
