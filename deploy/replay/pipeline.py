"""The pipeline of one run: merged events in; examples learned from, and everything counted, out.

    Step ── Joiner ── labelled examples ── Training

No file is touched here: what must be written is handed back.
"""

from collections.abc import Callable

from deploy.settings import Settings
from ftrl import Training
from joiner import Joiner, JoinOutput, Spill
from streams.merge import MergedStep
from streams.rules import TODAY, RuleNumbers


class Pipeline(Training):
    """Joiner and training of one run."""

    def __init__(
        self,
        settings: Settings,
        on_mark: Callable[[int], None],
        spill: Spill | None = None,
        rules: RuleNumbers = TODAY,
    ) -> None:
        """All parts fresh, for a run from the start of the logs.

        on_mark: as `Training` says. spill: the joiner's. rules: to go by.
        """
        super().__init__(settings.training, on_mark)
        self.spill = spill
        self.rules = rules
        self.run_settings = settings
        self.joiner = Joiner(settings.events, settings.join, settings.sampling, spill, rules)

    def join(self, step: MergedStep) -> JoinOutput:
        """Take one step of the merged logs."""
        return self.joiner.process(step.impressions, step.clicks, step.order)
