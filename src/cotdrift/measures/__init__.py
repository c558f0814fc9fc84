"""Measures: numbers read off a trace with no model involved."""
