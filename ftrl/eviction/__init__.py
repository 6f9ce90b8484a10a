"""Which features leave the table again: stale ones, and the least valuable when it is full.

- `eviction`: when features leave the table again: not seen for long, or the least of a table that
  is full
- `scan`: passes over the table that take features out; `ftrl.eviction.eviction` says when, and
  which
"""
