"""What Inspect finds of this package by its entry point: the tasks and the model provider."""

from cotdrift.experiments.reward_hint import reward_hint
from cotdrift.organism.provider import organism

__all__ = ["organism", "reward_hint"]
