"""Options in configuration files that nothing reads: typing errors, and options of Nova that have no effect here.

All services may share one file, so the options of the other services and of the libraries are known too. The lists of
options come from the entry points ``oslo.config.opts`` of nova_sched and of the installed libraries.
"""

import difflib
import logging
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from oslo_config import cfg

from nova_sched import filters, weighers
from nova_sched.process import keystone_options, nova_options
from nova_sched.process.library_options import CORS, EARLIER, LIBRARIES, LISTED, LOGINS, OF_ORIGIN, ON_DEMAND
from nova_sched.process.text import one_line
from rpc_api.config import CELL_GROUP

LOG = logging.getLogger(__name__)

ENTRY_POINTS = "oslo.config.opts"
OURS = "nova_sched."
DEFAULT = "DEFAULT"
CELL = "cell:"
#: Similarity (0 to 1) from which on a name is named as the nearest.
ALIKE_MIN = 0.6
#: Similarity from which on a name is a typing error, even if a class of a deployer might read the section.
TYPED_WRONG_MIN = 0.8
#: Options that name classes of deployers, and the names of the built-in classes.
_CLASSES = ("available_filters", "enabled_filters", "weight_classes")
_OURS = {*filters.BUILT_IN, *weighers.BUILT_IN}


def warn(conf) -> None:
    """Log a warning for each option, and each section of Nova, in the files of ``conf`` that nothing reads."""
    for text in unread(conf):
        LOG.warning("%s", text)


def unread(conf, paths=None) -> Iterator[str]:
    """Give a sentence per unread option: the file, the section, the option, and what to do.

    ``paths``: the files, by default those that ``conf`` has read. Files that cannot be read are skipped.
    """
    files = {
        path: sections
        for path in (files_of(conf) if paths is None else paths)
        if (sections := _parsed(path)) is not None
    }
    if files:
        # (A name may begin with a byte order mark, which nobody sees.)
        yield from map(one_line, _Known(conf, files).sentences())


def files_of(conf) -> list[str]:
    """Return the paths of the configuration files that ``conf`` has read, in their order."""
    directories = [Path(directory).expanduser() for directory in conf.config_dir or ()]
    return [
        *(conf.config_file or ()),
        *(str(path) for directory in directories for path in sorted(directory.glob("*.conf"))),
    ]


def _parsed(path):
    sections = {}
    try:
        cfg.ConfigParser(path, sections).parse()
    except (OSError, UnicodeError, cfg.ParseError):
        return None
    return sections


def _lower(section):
    """Return the section under which the options of ``section`` are known."""
    if section == DEFAULT:
        return section
    lowered = section.lower()
    return CORS if lowered.startswith(OF_ORIGIN) else lowered


class _Known:
    """The options that a service or a library reads."""

    def __init__(self, conf, files):
        self._files = files
        #: Section (in lower case) -> names of its options.
        self._read = {DEFAULT: set()}
        #: Sections of libraries whose options are not known.
        self._unlisted = set(LIBRARIES)
        self._take_registered(conf)
        for group, options in self._listed():
            self._take(group, options)
            self._unlisted.discard(_lower(getattr(group, "name", group) or DEFAULT))
        for section, names in EARLIER.items():
            if section in self._read:
                self._read[section] |= names
        #: Sections that may have options of a keystoneauth1 plugin which is not installed here.
        self._unknown_login = set()
        self._take_logins()
        self._own = {section: set(names) for section, names in self._read.items()}
        self._take_registered(cfg.CONF)
        self._cells = {
            name.strip().lower()
            for value in self._values("cells", "enabled")
            for name in value.split(",")
            if name.strip()
        }
        #: Whether classes or drivers of a deployer, which may have options of their own, are loaded by another service.
        self._loaded_elsewhere = self._names_classes() and "filter_scheduler" not in conf
        self._driver_elsewhere = self._foreign_driver() and "driver" not in conf.get("compute_agent", ())

    def _take(self, group, options):
        section = _lower(getattr(group, "name", group) or DEFAULT)
        for option in options:
            self._read.setdefault(section, set()).add(option.dest)
            for old in option.deprecated_opts:
                self._read.setdefault(_lower(old.group or section), set()).add(old.name or option.dest)

    def _take_registered(self, conf):
        for name in conf:
            try:
                value = conf[name]
            except cfg.Error:
                # An option of the shared configuration without a value.
                value = None
            if isinstance(value, cfg.ConfigOpts.GroupAttr):
                self._read.setdefault(_lower(name), set()).update(value)
            else:
                self._read[DEFAULT].add(name)

    def _listed(self):
        on_demand = set(ON_DEMAND.values())
        wanted = LISTED | {name for section, name in ON_DEMAND.items() if self._has(section)}
        for entry in metadata.entry_points(group=ENTRY_POINTS):
            if entry.name in wanted or (entry.name.startswith(OURS) and entry.name not in on_demand):
                try:
                    yield from entry.load()()
                except Exception as fault:
                    # A library without its optional parts cannot list its options; its sections are in LIBRARIES.
                    LOG.debug("the options of %s cannot be listed: %s", entry.name, fault)
        for name in self._values(DEFAULT, "config_source"):
            yield (
                name,
                [
                    cfg.StrOpt("driver"),
                    cfg.StrOpt("uri"),
                    *(cfg.StrOpt(name) for name in ("ca_path", "client_cert", "client_key", "timeout")),
                ],
            )

    def _take_logins(self):
        for section in LOGINS:
            if not self._has(section):
                continue
            found, is_whole = keystone_options.possible_in(section, self._values)
            for group, options in found:
                self._take(group, options)
                if not is_whole:
                    self._unknown_login.add(group)

    def _has(self, section):
        return any(_lower(found) == section for sections in self._files.values() for found in sections)

    def _values(self, section, name):
        """Return all values of an option in the files, as they are written."""
        return [
            value
            for sections in self._files.values()
            for found, options in sections.items()
            if _lower(found) == section
            for value in options.get(name, ())
        ]

    def _names_classes(self):
        named = [
            name.strip()
            for option in _CLASSES
            for value in self._values("filter_scheduler", option)
            for name in value.split(",")
        ]
        return any(name and name not in _OURS and not name.startswith("nova.scheduler.") for name in named)

    def _foreign_driver(self):
        return any(driver not in ("local", "simulated") for driver in self._values("compute_agent", "driver"))

    def sentences(self):
        for path, sections in self._files.items():
            for section, options in sections.items():
                yield from (f"{path}: {text}" for text in self._of_section(section, options))

    def _of_section(self, section, options):
        lowered = _lower(section)
        if lowered.startswith(CELL):
            yield from self._of_cell(section, options)
            return
        if lowered in self._unlisted:
            return
        unknown = [name for name in options if name not in self._own.get(lowered, ())]
        novas = {}
        for name in unknown:
            instead = self._instead_of(lowered, name)
            if instead is not None:
                novas.setdefault(instead, []).append(name)
            elif name not in self._read.get(lowered, ()):
                text = self._of_option(section, lowered, name)
                if text is not None:
                    yield text
        for instead, names in novas.items():
            has = "is an option of Nova that has" if len(names) == 1 else "are options of Nova that have"
            yield f"[{section}] {', '.join(names)} {has} no effect here; {instead}"

    def _instead_of(self, lowered, name):
        """Return what to do instead of setting an option of Nova that has no effect here; None if it is none, or is
        rather an option of the section that is read here, with a typing error."""
        instead = nova_options.instead_of(lowered, name)
        if instead is None or (lowered, name) in nova_options.OPTIONS:
            return instead
        known = self._own.get(lowered, ())
        return None if _likeness(name, _nearest(name, known)) >= TYPED_WRONG_MIN else instead

    def _of_cell(self, section, options):
        name = section[len(CELL) :]
        if name.lower() not in self._cells:
            if not self._cells or not options:
                # [cells] enabled is wrong, and not this section; or all lines of the section are comments, as in the
                # sample.
                return
            yield (
                f"[{section}] is not read: [cells] enabled names no cell {name!r}"
                f"{_nearest_text(name.lower(), self._cells)}; add it there, or remove the section"
            )
            return
        known = self._own[CELL_GROUP.name.lower()]
        for option in options:
            if option not in known:
                yield (
                    f"[{section}] {option} is read by no service"
                    f"{_nearest_text(option, known, f'[{section}] ')}; fix or remove it"
                )

    def _of_option(self, section, lowered, name):
        """Return the sentence about an option that nothing is known to read; None if a class of a deployer may read
        it."""
        if lowered not in self._read:
            near = _nearest(lowered, {*self._read, *LIBRARIES})
            home = self._home_of(name)
            if self._loaded_elsewhere and _likeness(lowered, near) < TYPED_WRONG_MIN:
                return None
            shown = f"[{near}]" if near else f"[{home}] {name}" if home else ""
            return (
                f"[{section}] {name} is read by no service: there is no section [{section}]"
                f"{f', the nearest is {shown}' if shown else ''}; fix or remove it"
            )
        near = _nearest(name, self._read[lowered])
        if lowered in self._unknown_login and _likeness(name, near) < TYPED_WRONG_MIN:
            return None
        strange = self._driver_elsewhere if lowered == "compute_agent" else self._loaded_elsewhere
        if strange and _likeness(name, near) < TYPED_WRONG_MIN and not self._home_of(name):
            return None
        home = self._home_of(name)
        if home and _likeness(name, near) < TYPED_WRONG_MIN:
            return f"[{section}] {name} is read by no service, the nearest is [{home}] {name}; move it there"
        return (
            f"[{section}] {name} is read by no service{_nearest_text(name, self._read[lowered], f'[{section}] ')}"
            "; fix or remove it"
        )

    def _home_of(self, name):
        """Return the section that has an option of this name, if exactly one has."""
        homes = [section for section, names in self._own.items() if name in names and not section.startswith(CELL)]
        return homes[0] if len(homes) == 1 else None


def _nearest(name, known):
    """Return the nearest of the known names; "" if none is similar."""
    found = difflib.get_close_matches(name, sorted(known), 1, ALIKE_MIN)
    return found[0] if found else ""


def _likeness(name, near):
    return difflib.SequenceMatcher(None, near, name).ratio() if near else 0.0


def _nearest_text(name, known, before=""):
    near = _nearest(name, known)
    return f", the nearest is {before}{near}" if near else ""
