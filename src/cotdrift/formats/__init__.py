"""Formats: how each kind of file becomes traces."""
