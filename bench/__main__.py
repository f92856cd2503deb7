"""Run all benchmarks: ``python -m bench``, or some: ``python -m bench fold call``."""

import importlib
import sys

NAMES = ("decision", "fold", "memory", "start", "call", "schedulers", "quality")


def main(names):
    """Run the named benchmarks, all of them without names."""
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        sys.exit(f"there is no benchmark {unknown[0]!r}, wanted some of {', '.join(NAMES)}")
    for name in names or NAMES:
        print(f"== {name}", flush=True)
        importlib.import_module(f"bench.{name}").main([])


if __name__ == "__main__":
    main(sys.argv[1:])
