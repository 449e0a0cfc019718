"""Keeping a home: copies of it, and room in it."""
