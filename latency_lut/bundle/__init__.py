"""Measuring a device that is not at hand: a folder with models, a plan and a script that travels."""
