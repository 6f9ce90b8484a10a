"""A real Apache Kafka for tests: one broker on loopback, in a temporary folder.

    jars ── broker ──┬─ shared: one for a whole run of pytest, with all its processes
                     └─ `make kafka`: one to play with

- `jars`: fetches Apache Kafka's own jars with Maven, once, and checks every one of them
- `broker`: a process to start, pause, kill and start again where it was
- `shared`: the fixture `kafka` of tests/conftest.py, and why there may be none
- `topics`, `workers`: what the tests do with it
"""
