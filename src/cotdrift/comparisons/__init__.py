"""Comparisons: numbers from two sets of traces."""
