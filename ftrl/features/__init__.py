"""A batch's fields become coordinates: 64-bit hashes and values."""
