"""Records of Kafka in chunks: the Faust transport, offsets, and who owns which partition."""
