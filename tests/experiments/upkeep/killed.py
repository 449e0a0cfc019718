"""A restore is killed at every step of its swap, each time in another copy: ``killed.py ARCHIVE HOME SCRATCH``.

Prints as JSON what the home holds once its store was opened again, one line for each step. As forking is for
processes without threads, this is a program.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import sys
from pathlib import Path

from bitfront.experiments.store.home import open_store
from bitfront.experiments.upkeep.restore import put_back

_MARK = "mark.txt"


def killed_at(step: int, archive: Path, home: Path) -> bool:
    """Restore in a process that dies before it moves anything for the ``step``-th time; False if it never does."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    inner, steps = Path.rename, itertools.count(1)

    def rename(self: Path, target: Path) -> Path:
        if next(steps) == step:
            os._exit(9)
        return inner(self, target)

    Path.rename = rename  # type: ignore[method-assign,assignment]
    put_back(archive, home, True, lambda done, total: None)
    os._exit(0)


def found(home: Path) -> dict[str, object]:
    with open_store(home) as store:
        experiments = [one.name for one in store.list_experiments().items]
    return {
        "experiments": experiments,
        "mark": (home / _MARK).read_text() if (home / _MARK).exists() else None,
        "files": sorted(path.name for path in home.iterdir() if path.name[:15] != "bitfront.sqlite"),
    }


if __name__ == "__main__":
    archive, original, scratch = map(Path, sys.argv[1:])
    for step in itertools.count(1):
        home = scratch / str(step)
        shutil.copytree(original, home)
        went_on = killed_at(step, archive, home)
        print(json.dumps(found(home)))
        if not went_on:
            break
