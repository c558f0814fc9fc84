"""What Inspect and Scout find of this package by its entry point: the tasks, the model provider, and the graders as scanners."""

import sys

from inspect_ai import task

from cotdrift.experiment import Experiment
from cotdrift.experiments.ambiguity import ambiguity
from cotdrift.experiments.apparent_success import apparent_success
from cotdrift.experiments.motive import motive
from cotdrift.experiments.prefixes import prefixes
from cotdrift.experiments.reward_hint import reward_hint
from cotdrift.organism.provider import organism
from cotdrift.shelf import collect

for one in collect("experiments", Experiment).values():
    if one.declared and one.name not in globals():  # made by the frame, and not by a function that Inspect has heard of
        task(name=one.name)(one.task)

if "inspect_scout" in sys.modules:  # who runs Inspect alone does not pay for it
    import cotdrift.scanners  # noqa: F401  # to be found is all that it is for

__all__ = ["ambiguity", "apparent_success", "motive", "organism", "prefixes", "reward_hint"]
