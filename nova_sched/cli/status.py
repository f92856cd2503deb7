"""``nova-sched-status upgrade check``: whether a deployment can be upgraded to this release."""

import contextlib
import logging
import sys

from nova_sched.process.text import one_line
from rpc_api import concurrency, errors

PROGRAM = "nova-sched-status"
#: The program of the operator's commands.
OPERATORS = "nova-sched"
DESCRIPTION = (
    "Check whether a deployment can be upgraded to the release of this command. It writes nothing. Run it in the "
    "environment of the new release, with the configuration of the services, before the first service is replaced."
)
EPILOG = (
    "Without --config-file it reads the files of nova-sched: /etc/nova_sched/nova_sched.conf, then nova-sched.conf and "
    "the files *.conf in nova_sched.conf.d beside it. If there is a nova-sched-status.conf, it is read instead of "
    "nova-sched.conf. Exit codes: 0 nothing to do, 1 at least one check has a warning, 2 at least one check fails: do "
    "not upgrade, 255 the check could not run."
)
COMMANDS = ("upgrade check",)
#: Options that may be written after the command too.
FILE_OPTIONS = ("--config-file", "--config-dir")
#: The exit code if the checks could not run, as in other projects of OpenStack.
UNEXPECTED = 255


def main(argv=None) -> int:
    """Run the checks, and return the exit code: 0, 1, 2 or 255."""
    try:
        concurrency.setup()
        return _run(sys.argv[1:] if argv is None else argv)
    except SystemExit as end:
        return errors.EXIT_OK if not end.code else UNEXPECTED
    except KeyboardInterrupt:
        return _failed("interrupted")
    except errors.NovaSchedError as fault:
        return _failed(str(fault))
    except Exception as fault:
        logging.getLogger(__name__).debug("the fault of %s", PROGRAM, exc_info=True)
        return _failed(f"a fault in nova_sched itself ({fault!r}); run it with --debug and report the traceback")
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()


def _failed(text):
    sys.stderr.write(f"{PROGRAM}: {one_line(text)}\n")
    return UNEXPECTED


def options():
    """The configuration with the options and the command line of this command; nothing is read yet."""
    from oslo_config import cfg
    from oslo_log import log
    from oslo_upgradecheck import upgradecheck

    from nova_sched.scheduler import config

    conf = cfg.ConfigOpts()
    log.register_options(conf)
    config.register(conf)
    checks = _checks_of(conf)
    upgradecheck.register_cli_options(conf, checks)
    return conf, checks


def _program_of_files():
    """The program whose files are read without ``--config-file``: the operator's commands, unless the check has a file
    of its own."""
    from oslo_config import cfg

    from nova_sched.process.version import PROJECT

    own = set(cfg.find_config_files(PROJECT, PROGRAM)) - set(cfg.find_config_files(PROJECT, OPERATORS))
    return PROGRAM if own else OPERATORS


def _files_first(argv):
    """The words with the options that name files before the command, where oslo.config wants them."""
    files, others = [], []
    words = list(argv)
    while words:
        word = words.pop(0)
        name, is_one_word, _ = word.partition("=")
        if name not in FILE_OPTIONS:
            others.append(word)
        elif is_one_word:
            files.append(word)
        elif words and not words[0].startswith("-"):
            files += [word, words.pop(0)]
        else:  # a value is missing; oslo.config says so, or does not know the option there
            others.append(word)
    return [*files, *others]


def _run(argv):
    from oslo_upgradecheck import upgradecheck

    from nova_sched.process import process

    conf, checks = options()
    process.parse(conf, PROGRAM, _files_first(argv), DESCRIPTION, EPILOG, COMMANDS, _program_of_files())
    words = [conf.command.name, getattr(conf.command, "check", None)]
    if words != ["upgrade", "check"]:
        raise errors.UsageError(f"there is no command {' '.join(map(str, words))!r}, wanted 'upgrade check'; type that")
    logging.basicConfig(level=logging.DEBUG if conf.debug else logging.ERROR, format="%(levelname)s: %(message)s")
    upgradecheck.CONF = conf
    with checks:
        return int(checks.check())


def _checks_of(conf):
    """The UpgradeCommands of oslo.upgradecheck with our checks, for a configuration that is read later."""
    from oslo_upgradecheck import common_checks, upgradecheck

    from nova_sched.replay.health import upgrade

    class Checks(upgradecheck.UpgradeCommands):
        """The checks, in the order of the documents. Each result has one sentence."""

        deployment = None

        def __enter__(self):
            self._opened = upgrade.Deployment(conf)
            self.deployment = self._opened.__enter__()
            return self

        def __exit__(self, *exc):
            self._opened.__exit__(*exc)

        def _of(self, check):
            found = check(self.deployment)
            return upgradecheck.Result(upgradecheck.Code(int(found.state)), one_line(found.text))

        def _options(self):
            found = upgrade.of_options(conf)
            return upgradecheck.Result(upgradecheck.Code(int(found.state)), one_line(found.text))

        _upgrade_checks = (
            ("Options", _options),
            ("Policy File JSON to YAML Migration", (common_checks.check_policy_json, {"conf": conf})),
            ("Logs", (_of, {"check": upgrade.of_logs})),
            ("RabbitMQ", (_of, {"check": upgrade.of_brokers})),
            ("Levels", (_of, {"check": upgrade.of_levels})),
            ("Services", (_of, {"check": upgrade.of_services})),
            ("Checkpoints", (_of, {"check": upgrade.of_checkpoints})),
            ("Snapshots", (_of, {"check": upgrade.of_snapshots})),
        )

    return Checks()


if __name__ == "__main__":
    sys.exit(main())
