"""Where an experiment's own files are; light, so that listing and reading them loads nothing else."""

from __future__ import annotations

from pathlib import Path


def experiment_folder(home: Path, experiment_id: str) -> Path:
    """Where an experiment's own files are."""
    return home / "experiments" / experiment_id


def candidates_folder(home: Path, experiment_id: str) -> Path:
    """Where its candidates are as parquet parts, if its spec asks for them."""
    return experiment_folder(home, experiment_id) / "candidates"


def tuning_path(home: Path) -> Path:
    """Where trials of tuned predictors are kept, so that tuning goes on after a crash."""
    return home / "tuning.sqlite"


def log_path(home: Path, experiment_id: str) -> Path:
    """Where an experiment's log is."""
    return experiment_folder(home, experiment_id) / "log.txt"
