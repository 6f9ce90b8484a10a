"""Admission by exact counts: a dictionary for each generation, nothing approximate."""

from collections import Counter, deque


class ExactCounter:
    """Counts sightings of features outside the table, forgetting a generation at a time.

    A feature is admitted once it has been seen more than `admit_after` times, the present sighting
    included, within the generations that are remembered; `admits` may be given another threshold.
    The keys are divided into `lines` equal parts by their high halves. While a generation lasts,
    which is `rotate_every` examples, or milliseconds of event time if `by_time`, one part after the
    other begins the next generation.
    """

    def __init__(
        self,
        admit_after: int,
        generations: int,
        rotate_every: int,
        lines: int = 1,
        by_time: bool = False,
    ) -> None:
        self.admit_after = admit_after
        self.generations = generations
        self.rotate_every = rotate_every
        self.lines = lines
        self.by_time = by_time
        self.examples = 0
        self.now = 0
        self.counts: dict[int, deque[Counter[int]]] = {}
        self.turns: dict[int, int] = {}

    def start_example(self, ts: int = 0) -> None:
        """Another example begins, at `ts`."""
        self.now = max(self.now, ts) if self.by_time else self.examples
        self.examples += 1

    def of(self, key: int) -> deque[Counter[int]]:
        """The counts of the key's part, without the generations that are due; the newest last."""
        part = (key >> 32) * self.lines >> 32
        terms, into = divmod(self.now, self.rotate_every)
        turn = terms + (int(into * (self.lines / self.rotate_every)) > part)
        if part not in self.counts:
            self.counts[part] = deque([Counter()], self.generations)
            self.turns[part] = turn
        for _ in range(min(turn - self.turns[part], self.generations)):
            self.counts[part].append(Counter())
        self.turns[part] = turn
        return self.counts[part]

    def remembered(self, key: int) -> int:
        """How often `key` was sighted and not admitted."""
        return sum(generation[key] for generation in self.of(key))

    def admits(self, key: int, admit_after: int | None = None) -> bool:
        """Whether `key`, sighted now, is admitted; if it is not, counts the sighting."""
        threshold = self.admit_after if admit_after is None else admit_after
        if self.remembered(key) + 1 > threshold:
            return True
        self.of(key)[-1][key] += 1
        return False
