"""Which features leave the table again: stale ones, and the least valuable when it is full.

- `scan`: a scan over part of the table, which ranks features or takes them out
- `eviction`: `Eviction`: when a scan is due, and by which rule
"""
