"""A played cloud that the tests of the replay tool read."""

import csv
import shutil

import pytest

from nova_sched.cli.main import main


class Played:
    """The output directory of a play, and the rows of its requests."""

    def __init__(self, directory):
        self.directory = directory
        with open(directory / "placements.csv", newline="") as file:
            self.rows = list(csv.DictReader(file))

    def instance(self, outcome, **wanted):
        """The instance of the first request with an outcome."""
        return next(
            row["instance"]
            for row in self.rows
            if row["outcome"] == outcome and all(row[name] == value for name, value in wanted.items())
        )

    def copy(self, directory):
        """Another directory with the same logs, which may be written to."""
        shutil.copytree(self.directory, directory)
        summary = directory / "summary.json"
        summary.write_text(summary.read_text().replace(str(self.directory), str(directory)))
        return directory


@pytest.fixture(scope="session")
def played_cloud(tmp_path_factory):
    """A play with two cells, four schedulers, server groups and failures, of which a build was retried on an alternate.

    Schedulers race, so a play in which no build was retried is rare and possible: then the cloud is played again.
    """
    played = _play(tmp_path_factory.mktemp("replayed") / "out")
    while not any(row["outcome"] == "built" and row["attempts"] == "2" for row in played.rows):
        played = _play(tmp_path_factory.mktemp("replayed") / "out")
    return played


def _play(out):
    words = ["--generate", "16,120", "--cells", "2", "--schedulers", "4", "--fail", "0.1"]
    assert main(["play", *words, "--no-picture", "--out", str(out)]) == 0
    return Played(out)


@pytest.fixture(scope="session")
def played(played_cloud):
    """Its output directory, which is not to be written to."""
    return played_cloud.directory
