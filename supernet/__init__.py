"""Stages 1-3 and 7: what can be built, trained, evaluated and exported."""
