"""The model organism: a small language model whose reinforcement learning really drifted, its truth known."""
