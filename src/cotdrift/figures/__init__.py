"""Figures: estimates become drawing data."""
