"""Run Nova's functional tests with our services, or with Nova's own (``--stock``), and print how many pass.

    python -m tests.against_nova.functional.table [--stock] [--out FOLDER] [GROUP ...]

``NOVA_SCHED_PEER_PYTHON`` names the interpreter that has Nova. Two processes run side by side. A test that fails is run
once more, alone: Nova's tests wait for seconds, which a busy machine may not keep. FOLDER gets the results and the logs
of the tests that failed.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from tests.against_nova.functional.expected import EXPECTED
from tests.against_nova.functional.groups import GROUPS
from tests.against_nova.functional.run import FAILED, PASSED, SKIPPED

HERE = pathlib.Path(__file__).parent
#: Seconds that a test may take on a busy machine.
TEST_SECONDS = 600


def run(services, names, results):
    """Run tests in a process, and return test -> (result, seconds, text); ``results`` is a file that gets them."""
    results.unlink(missing_ok=True)
    environment = os.environ | {"OS_TEST_TIMEOUT": str(TEST_SECONDS), "PYTHONPATH": str(HERE.parents[2])}
    command = [environment["NOVA_SCHED_PEER_PYTHON"], "-W", "ignore", str(HERE / "run.py"), services, str(results)]
    with results.with_suffix(".log").open("w") as log:
        subprocess.run([*command, *names], stdout=log, stderr=log, env=environment, check=True)
    found = [json.loads(line) for line in results.read_text().splitlines()]
    return {name: (result, seconds, text) for name, result, seconds, text in found}


def run_twice(services, group, folder):
    """The results of a group, in which what failed was run once more."""
    found = run(services, GROUPS[group], folder / f"{group}.json")
    failed = [name for name, (result, _, _) in found.items() if result == FAILED]
    for name in failed:
        found |= run(services, [name], folder / f"{group}-again.json")
    return found


def differences(found):
    """The tests that fail and should pass, and those that pass and should fail."""
    failed = {name for name, (result, _, _) in found.items() if result == FAILED}
    return sorted(failed - EXPECTED.keys()), sorted((found.keys() - failed) & EXPECTED.keys())


def main(arguments):
    parser = argparse.ArgumentParser(description="Run Nova's functional tests.")
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=", ".join(GROUPS))
    parser.add_argument("--stock", action="store_true")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("out/functional"))
    options = parser.parse_args(arguments)
    services = "stock" if options.stock else "nova_sched"
    folder = options.out / services
    folder.mkdir(parents=True, exist_ok=True)
    groups = options.groups or list(GROUPS)
    wrong = []
    print("| group | tests | passed | failed | skipped |\n|---|---|---|---|---|")
    with ThreadPoolExecutor(2) as pool:
        for group, found in zip(groups, pool.map(lambda name: run_twice(services, name, folder), groups), strict=True):
            counts = [sum(result == wanted for result, _, _ in found.values()) for wanted in (PASSED, FAILED, SKIPPED)]
            print(f"| {group} | {len(found)} | {' | '.join(map(str, counts))} |", flush=True)
            if not options.stock:
                fails, passes = differences(found)
                wrong += [f"{name} fails" for name in fails] + [
                    f"{name} passes, and is expected to fail" for name in passes
                ]
            else:
                wrong += [f"{name} fails" for name, (result, _, _) in found.items() if result == FAILED]
    print("\n".join(wrong))
    return 1 if wrong and not options.stock else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
