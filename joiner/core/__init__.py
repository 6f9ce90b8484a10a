"""The join: events in, labelled examples out; no clock, no file, no Kafka.

- `breaker`: the breaker: it opens when clicks stay away that should have come
- `dead_letters`: rows that the join refused, as dead letters: what each reason means, and what to
  do
- `early_clicks`: clicks that came before their impression, waiting for it
- `joiner`: the joiner: impressions and clicks in, labelled examples and facts out. No clock, no
  I/O
- `kernel_types`: what the kernels are given and give: settings as numbers, events, counts, facts
- `kernels`: the join itself: one kernel that walks the events of a step in their order
- `labels`: labelled examples: the rows of decided impressions with their label columns
- `ledger`: the ledger: what became of every event, and the clicks' delays. It balances at every
  moment
- `outputs`: what a step gives, as record batches: labelled examples, late clicks, rejected rows
- `pending`: impressions that are open or still known: the ring that indexes them, and their rows
- `ring`: the pending impressions' ring and its index, as the kernels see them
- `row_store`: the rows of pending impressions: batches as they came, in order, the oldest perhaps
  on disk
- `sampling`: which negatives subsampling keeps: a matter of the impression's id and the seed
  alone
- `state`: what a joiner must remember, as record batches and plain values that any store can hold
- `step_input`: A step on its way into the kernel: checked, its ids hashed, its columns as arrays
"""
