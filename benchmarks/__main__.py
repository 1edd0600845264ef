"""Run every benchmark, or those named: ``python -m benchmarks [influence unlearning ...]``."""

from __future__ import annotations

import pkgutil
import sys
from importlib import import_module

import benchmarks

HARNESS = {"__main__", "measure"}


def main(names: list[str]) -> int:
    """Print a row per figure; 1 if any misses its target."""
    known = [module.name for module in pkgutil.iter_modules(benchmarks.__path__) if module.name not in HARNESS]
    strange = sorted(set(names) - set(known))
    if strange:
        sys.stderr.write(f"no benchmark {', '.join(strange)}; known: {', '.join(known)}\n")
        return 2
    missed = 0
    for name in names or known:
        sys.stdout.write(f"{name}\n")
        for row in import_module(f"benchmarks.{name}").rows():
            sys.stdout.write(f"  {row}\n")
            sys.stdout.flush()
            missed += not row.reached
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
