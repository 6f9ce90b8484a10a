"""Which features leave the table again: stale ones, and the least valuable when it is full."""
