"""Run commands one after the other in a process of their own: ``python -m nova_sched.cli.in_turn``.

It reads a JSON list of jobs from its input. A job has an ``entry`` ("main" or "replay" of nova_sched.cli.main), its
``words``
and an ``output``: the file that gets what the command prints. When it has ended, OUTPUT.code has its exit code. So the
process that asked knows which job is under way, and can end it with this process.
"""

import json
import logging
import os
import sys

from nova_sched.cli import main


def run(job: dict) -> None:
    """Run one command. Its output and its exit code go to files."""
    file = os.open(job["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for number in (1, 2):
        os.dup2(file, number)
    os.close(file)
    code = getattr(main, job["entry"])(job["words"])
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    # The next command sets up its own.
    for handler in list(logging.getLogger().handlers):
        logging.getLogger().removeHandler(handler)
    with open(f"{job['output']}.part", "w") as file:
        file.write(str(code))
    os.replace(f"{job['output']}.part", f"{job['output']}.code")


if __name__ == "__main__":
    for job in json.load(sys.stdin):
        run(job)
