"""The join: events in, labelled examples out; no clock, no file, no Kafka.

    step ── step_input ──> kernels.join ──> labels ─────> labelled examples
                            │  changes      outputs ────> late clicks, rejected rows
                            └─ ring, early_clicks, breaker, ledger

`Joiner` holds the state and takes the steps. A known impression is open, or decided and remembered.

- `joiner`: the joiner: one partition's state, and the steps that change it
- `step_input`: the input of a step for the kernel: checked, ids hashed, columns as arrays
- `kernel_types`: what the kernels are given and what they report
- `kernels`: the join itself: one kernel that walks the events of a step in their order
- `ring`: the ring of known impressions and the index that finds them
- `pending`: the ring with the impressions' rows: room, growth, release
- `row_store`: these rows, in memory or moved out of it
- `early_clicks`: clicks that came before their impression and wait for it
- `breaker`: when missing clicks make labels wait
- `sampling`: which negatives subsampling keeps
- `labels`: labelled examples: the rows of decided impressions with their label columns
- `outputs`: late clicks and rejected rows
- `dead_letters`: rejected rows as dead letters: what each reason means, and what to do
- `ledger`: what became of every event; it balances at every moment
- `state`: what a joiner must remember, as record batches and values fit for JSON
"""
