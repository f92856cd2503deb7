"""The sample configuration and the files in the documentation: up to date, and accepted by oslo-config-validator."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from oslo_config import cfg

from nova_sched.process import unread_options
from nova_sched.scheduler import config

ROOT = Path(__file__).resolve().parent.parent
GENERATOR = ROOT / "etc/nova_sched/config-generator.conf"
SAMPLE = ROOT / "etc/nova_sched/nova_sched.conf.sample"
#: keystoneauth1's options are in it, and their help texts change with its version.
NOT_ONLY_OURS = "[neutron]"


def run(module, *arguments):
    return subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore",
            "-c",
            f"from oslo_config import {module}; "
            f"import sys; sys.exit({module}.main({'sys.argv[1:]' if module == 'generator' else ''}))",
            *map(str, arguments),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )


def our_blocks(text):
    """Text of our packages' options by section: what libraries list depends on their version."""
    found = {}
    for section, body in re.findall(r"^(\[[^\]\n]+\])$(.*?)(?=^\[[^\]\n]+\]$|\Z)", text, re.DOTALL | re.MULTILINE):
        for source, block in re.findall(r"^#\n# From (\S+)\n#$(.*?)(?=^#\n# From |\Z)", body, re.DOTALL | re.MULTILINE):
            if source.startswith("nova_sched.") and section != NOT_ONLY_OURS:
                found[section, source] = block.strip()
    return found


def test_the_sample_is_up_to_date(tmp_path):
    done = run("generator", "--config-file", GENERATOR, "--output-file", tmp_path / "sample")
    assert done.returncode == 0, done.stderr
    made, kept = our_blocks((tmp_path / "sample").read_text()), our_blocks(SAMPLE.read_text())
    assert made and made == kept, "run make reference"


@pytest.mark.parametrize(
    "line",
    [
        "[DEFAULT]",
        "#transport_url = rabbit://",
        "#control_exchange = nova",
        "#rpc_response_timeout = 60",
        "#debug = false",
        "#log_file = <None>",
        "#graceful_shutdown_timeout = 60",
        "[oslo_messaging_rabbit]",
        "[cells]",
        "#cell0_log = <None>",
        "[cell:name]",
        "#log = <None>",
        "[snapshots]",
        "[neutron]",
        "#http_retries = 3",
        "[oslo_reports]",
    ],
)
def test_the_sample_is_complete(line):
    assert line in SAMPLE.read_text().splitlines()


def test_the_sample_is_shipped():
    shipped = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["data-files"]["etc/nova_sched"]
    assert [ROOT / one for one in shipped] == [SAMPLE, GENERATOR]


def documented():
    """(name, text) of each configuration in the documentation."""
    for path in sorted((ROOT / "docs").rglob("*.md")):
        for number, text in enumerate(re.findall(r"^```ini\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE)):
            yield pytest.param(text, id=f"{path.stem}-{number}")


def validate(path):
    """What oslo-config-validator says; it cannot know the sections of cells, which the documentation says."""
    cells = re.findall(r"^\[(cell:[^\]]+)\]", path.read_text(), re.MULTILINE)
    done = run(
        "validator",
        "--config-file",
        GENERATOR,
        "--input-file",
        path,
        *(argument for cell in cells for argument in ("--exclude-group", cell)),
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("text", [*documented()])
def test_documented_files_are_valid(tmp_path, text):
    path = tmp_path / "documented.conf"
    path.write_text(text)
    code, said = validate(path)
    assert code == 0 and "ERROR" not in said and "WARNING:oslo_config.validator" not in said, said
    conf = cfg.ConfigOpts()
    config.register(conf)
    conf(["--config-file", str(path)], default_config_dirs=[])
    assert list(unread_options.unread(conf)) == []


def test_the_validator_sees_a_wrong_option(tmp_path):
    path = tmp_path / "wrong.conf"
    path.write_text("[snapshot]\nurl = x\n")
    assert validate(path)[0] == 1
