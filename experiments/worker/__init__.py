"""Work through the queue: one process that waits, and a process of its own for every experiment."""

from bitfront.experiments.worker.beside import beside

__all__ = ["beside"]
