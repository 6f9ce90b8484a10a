"""Admission by exact counts: a dictionary for each generation, nothing approximate."""


class ExactCounter:
    """Counts sightings of features outside the table, forgetting a generation at a time.

    A feature is admitted once it has been seen more than `admit_after` times, the sighting at
    hand included, within the generations that are remembered. A generation lasts
    `rotate_every` examples.
    """

    def __init__(self, admit_after: int, generations: int, rotate_every: int) -> None:
        self.admit_after = admit_after
        self.generations = generations
        self.rotate_every = rotate_every
        self.examples = 0
        self.counts: list[dict[int, int]] = [{}]

    def start_example(self) -> None:
        """Another example begins."""
        if self.examples > 0 and self.examples % self.rotate_every == 0:
            self.counts.append({})
            self.counts = self.counts[-self.generations :]
        self.examples += 1

    def remembered(self, key: int) -> int:
        """How often `key` was sighted and not admitted."""
        return sum(generation.get(key, 0) for generation in self.counts)

    def admits(self, key: int) -> bool:
        """Whether `key`, sighted now, is admitted; if it is not, the sighting counts."""
        if self.remembered(key) + 1 > self.admit_after:
            return True
        self.counts[-1][key] = self.counts[-1].get(key, 0) + 1
        return False
