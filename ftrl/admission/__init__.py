"""Which features enter the table: counting Bloom filters, Poisson inclusion, sketches."""
