"""Stages 5-6: the joint search over architecture, pruning and bits, and the front it leaves."""
