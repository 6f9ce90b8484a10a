"""Assembly and delivery: what turns the pure rooms into programs.

settings      one TOML file, validated           cli         the commands
loop          the joiner, and training           console     progress and summaries
replay        the loop over log files            report      the run as a page
outputs       examples and late clicks on disk   metrics     the run as JSON
store         RocksDB, and nobody else knows     demo        the main job on public logs
snapshots     serving versions in the store      open_bandit those logs, as two logs
scorer        P(click) by a serving version      bench_replay  how fast this machine is
training      features, learner, evaluation      checkpoint  all of that, saved
learning      training on labelled topics        worker_learn  the same as a worker on Kafka
health        /healthz, /readyz, /metrics        watchdog    ends a worker that is stuck
simulate      traffic with a known truth         simulated     predictions beside that truth

logs ─▶ replay ─▶ loop ─▶ examples, metrics, report
                    └────▶ snapshots ─▶ store ─▶ scorer

Kafka ─▶ worker_learn ─▶ learning ─▶ snapshots, store
"""
