"""The shelf of experiments: prompts put to checkpoints under conditions."""
