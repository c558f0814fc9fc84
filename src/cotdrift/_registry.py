"""What Inspect and Scout find of this package by its entry point: the tasks, the model provider, and the graders as scanners."""

import sys

from inspect_ai import task

from cotdrift.decipher.letters import letters
from cotdrift.experiments.ambiguity import ambiguity
from cotdrift.experiments.ambiguity_order import AMBIGUITY_ORDER
from cotdrift.experiments.apparent_success import apparent_success
from cotdrift.experiments.importance import importance
from cotdrift.experiments.interventions import interventions
from cotdrift.experiments.monitored import monitored
from cotdrift.experiments.motive import motive
from cotdrift.experiments.prefixes import prefixes
from cotdrift.experiments.reward_hint import reward_hint
from cotdrift.experiments.rubrics import RUBRICS
from cotdrift.experiments.sampling import sampling
from cotdrift.organism.provider import organism

for made in (AMBIGUITY_ORDER, monitored, RUBRICS, sampling):  # by the frame, and not by a function that Inspect has heard of
    task(name=made.name)(made.task)

if "inspect_scout" in sys.modules:  # who runs Inspect alone does not pay for it
    import cotdrift.scanners  # noqa: F401  # to be found is all that it is for

__all__ = ["ambiguity", "apparent_success", "importance", "interventions", "letters", "motive", "organism", "prefixes", "reward_hint"]
