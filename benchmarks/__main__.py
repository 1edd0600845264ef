"""Run every benchmark, or those named: ``python -m benchmarks [influence unlearning ...]``."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module

import benchmarks

# The last four are commands of their own: they measure models, not speed.
HARNESS = {"__main__", "measure", "trial", "compare", "cifar", "tofu"}


def main(names: list[str]) -> int:
    """Print a row per figure; 1 if any misses its target."""
    known = [module.name for module in pkgutil.iter_modules(benchmarks.__path__) if module.name not in HARNESS]
    strange = sorted(set(names) - set(known))
    if strange:
        sys.stderr.write(f"no benchmark {', '.join(strange)}; known: {', '.join(known)}\n")
        return 2
    if len(names) == 1:
        return int(not all(list(reached(names[0]))))  # the list: all rows, also after a miss
    # Each in a process of its own: what one leaves in memory would make the next one's milliseconds longer.
    codes = [subprocess.run([sys.executable, "-m", "benchmarks", name]).returncode for name in names or known]
    return max(codes)


def reached(name: str) -> Iterator[bool]:
    """Print a benchmark's rows as they come; whether each met its target."""
    sys.stdout.write(f"{name}\n")
    for row in import_module(f"benchmarks.{name}").rows():
        sys.stdout.write(f"  {row}\n")
        sys.stdout.flush()
        yield row.reached


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
