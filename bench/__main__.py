"""Run all benchmarks: ``python -m bench``, or some: ``python -m bench fold call``; one with options:
``python -m bench chain --help``."""

import importlib
import sys

NAMES = (
    "decision",
    "chain",
    "fold",
    "memory",
    "start",
    "call",
    "fence",
    "schedulers",
    "flood",
    "quality",
    "replay",
    "state_at",
    "pools",
    "candidates",
    "write",
    "placement_api",
    "idle_computes",
    "tap",
    "tapped_cell",
    "monitoring",
    "log_bytes",
    "page",
)


def main(arguments):
    """Run the named benchmarks, all of them without names; options behind a name are that benchmark's."""
    if arguments[:1] in (["-h"], ["--help"]):
        print(f"{__doc__}\n\nbenchmarks: {' '.join(NAMES)}")
        return
    options = arguments[1:] if len(arguments) > 1 and arguments[1].startswith("-") else []
    names = arguments[:1] if options else arguments
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        sys.exit(f"there is no benchmark {unknown[0]!r}, wanted some of {', '.join(NAMES)}")
    for name in names or NAMES:
        print(f"== {name}", flush=True)
        importlib.import_module(f"bench.{name}").main(options)


if __name__ == "__main__":
    main(sys.argv[1:])
