"""Secrets: configuration files without them, and texts from which they are removed.

A value of a configuration file is shown only if its option is known and not secret. Whatever was masked there is then
removed from every other text too, wherever it occurs.
"""

import json
import re
from collections.abc import Iterable
from importlib import metadata
from urllib.parse import quote, unquote

from oslo_config import cfg
from oslo_utils import strutils

from nova_sched.process import keystone_options
from rpc_api.config import CELL_GROUP
from rpc_api.log.checks import mask_password

MASK = "***"
ENTRY_POINTS = "oslo.config.opts"
#: Entry points whose options a service may read, beside our own.
LIBRARIES = ("oslo.", "keystonemiddleware.")
OURS = "nova_sched."
#: Names of options that are secret, whatever their declaration says.
SECRET_NAMES = re.compile(
    r"passw|secret|token|credential|private|encrypt|(^|_)key($|s$)|(^|_)auth_section", re.IGNORECASE
)
#: Names that only look like those.
NOT_SECRET = frozenset({"token_cache_time", "ssl_key_file", "keyfile", "key_file", "hash_algorithms"})
#: A shorter text would be found everywhere.
LENGTH_MIN = 4
_LOGIN = re.compile(r"(?<=://)([^\s/?#'\"@]*@)")
_PASSWORD = re.compile(r":([^:@,/]*)@")
#: A quote, which is escaped where its text is within another one.
_QUOTE = r"\\*['\"]"
#: From a name to its value, which is quoted there, and may be the first of a list.
_TO_QUOTED = rf"(?:(?:{_QUOTE})?\s*[:=]\s*(?:[\[(]\s*)?|{_QUOTE}\s*,\s*)b?"
_TO_BARE = rf"(?:{_QUOTE})?\s*[:=][^\S\n]*(?!\s*[\[(]?\s*b?{_QUOTE})"
#: What is in a quote that the group ``quote`` has begun: up to its end, or the end of the line.
_QUOTED = r"(?:(?!(?P=quote))(?:\\+[^\\\n]?|[^\\\n]))+"
#: A value without quotes around it: up to the end of a text around it, or of the line. A quote after a = begins a
#: parameter of the value, unless what follows shows that it ends the text around it.
_BARE = r"(?:=\s*\"(?!\s*(?:[,}\])]|$))(?:[^\"\\\n]|\\.)*\"?|\\.|[^'\"\\\n])+"
#: Names of headers with a token: one word.
_TOKEN = r"X[-_](?:Auth|Service|Subject)[-_]Token"
#: Names of headers with credentials of any scheme: several words.
_CREDENTIALS = r"(?:Proxy[-_]|HTTP_(?:PROXY_)?)?Authorization"
#: What has a secret after its first group, in headers and messages.
_SPOKEN = [
    re.compile(pattern, re.IGNORECASE | re.MULTILINE)
    for pattern in (
        rf"({_TOKEN}{_TO_QUOTED}{_QUOTE}(?:Bearer\s+)?)[^\s'\",\\]+",
        rf"({_TOKEN}{_TO_BARE}(?:Bearer\s+)?)[^\s'\",\\]+",
        rf"({_CREDENTIALS}{_TO_QUOTED}(?P<quote>{_QUOTE})){_QUOTED}",
        rf"((?<!\\)(?P<quote>{_QUOTE}){_CREDENTIALS}\s*[:=][^\S\n]*){_QUOTED}",
        rf"({_CREDENTIALS}{_TO_BARE}){_BARE}",
    )
]


class Options:
    """The options that services and their libraries read: which of them are secret."""

    def __init__(self, files: Iterable[dict]):
        self._secret = {}
        for entry in metadata.entry_points(group=ENTRY_POINTS):
            if entry.name.startswith((OURS, *LIBRARIES)):
                try:
                    for group, options in entry.load()():
                        self._take(getattr(group, "name", group) or "DEFAULT", options)
                except Exception:  # a library without its optional parts lists nothing: its options stay unknown
                    continue
        for section in ("keystone_authtoken", "neutron"):
            for name, options in keystone_options.named_in(section, lambda *where: _values(files, *where)):
                self._take(name, options)

    def _take(self, section, options):
        for option in options:
            names = [(section, option.dest)]
            names += [(old.group or section, old.name or option.dest) for old in option.deprecated_opts]
            for group, name in names:
                key = (group.lower(), name.replace("-", "_"))
                self._secret[key] = bool(option.secret) or self._secret.get(key, False)

    def is_open(self, section: str, name: str) -> bool:
        """Whether the value of an option may be shown."""
        lowered = CELL_GROUP.name.lower() if section.lower().startswith("cell:") else section.lower()
        secret = self._secret.get((lowered, name.replace("-", "_")))
        return secret is False and (name in NOT_SECRET or not SECRET_NAMES.search(name))

    def is_known(self, section: str, name: str) -> bool:
        """Whether anything reads the option."""
        lowered = CELL_GROUP.name.lower() if section.lower().startswith("cell:") else section.lower()
        return (lowered, name.replace("-", "_")) in self._secret


def _values(files, section, name):
    return [
        value
        for sections in files
        for found, options in sections.items()
        if found.lower() == section.lower()
        for value in options.get(name, ())
    ]


def parsed(text_path) -> dict:
    """The sections of a configuration file: section -> option -> values. OSError, UnicodeError or cfg.ParseError."""
    sections = {}
    cfg.ConfigParser(str(text_path), sections).parse()
    return sections


class Secrets:
    """The secrets that were found, and texts without them."""

    def __init__(self):
        self._found = set()

    def add(self, text: str) -> None:
        """Remember a secret, as it is and as it is in a URL, in JSON and in Python's text of a value."""
        for plain in {text.strip(), unquote(text).strip()}:
            if len(plain) >= LENGTH_MIN:
                # (Twice: the JSON of a message has what was already escaped in the message.)
                once = {plain, *_escaped(plain)}
                self._found.update(once, *map(_escaped, once))

    def shown(self, options: Options, section: str, name: str, value: str) -> str:
        """The value of an option as a bundle shows it. What is masked is remembered."""
        if options.is_open(section, name):
            return self._without_logins(value)
        if "://" in value and options.is_known(section, name) and not SECRET_NAMES.search(name):
            # The URL of a broker or a store: where it is helps, and its passwords do not.
            self.add_passwords_of(value)
            return mask_password(value)
        self.add(value)
        return MASK if options.is_known(section, name) else f"{MASK} (nothing here knows this option)"

    def _without_logins(self, value):
        if "@" in value and "://" in value:
            self.add_passwords_of(value)
            return mask_password(value)
        return value

    def add_passwords_of(self, url: str) -> None:
        """Remember the passwords in a URL."""
        place = url.partition("://")[2]
        for password in _PASSWORD.findall(place):
            self.add(password)
        # (A password with a bare / or @ is one whole text with its neighbours.)
        hidden = place.rpartition("@")[0].partition(":")[2]
        if hidden and not re.fullmatch(r"[^@,/]*", hidden):
            self.add(hidden)
        for value in re.findall(r"[?&][^=&#]*(?:pass|secret|token)[^=&#]*=([^&#]*)", url, re.IGNORECASE):
            self.add(value)

    def masked_file(self, options: Options, sections: dict) -> str:
        """A configuration file as text: sections and values, without comments."""
        lines = []
        for section, values_of in sections.items():
            lines.append(f"[{section}]")
            for name, values in values_of.items():
                lines += [f"{name} = {self.shown(options, section, name, value)}" for value in values]
            lines.append("")
        return "\n".join(lines)

    def scrubbed(self, text: str) -> str:
        """A text without the known secrets, logins in URLs, tokens, and what oslo.utils takes for a password."""
        for secret in sorted(self._found, key=len, reverse=True):
            text = text.replace(secret, MASK)
        text = _LOGIN.sub(lambda found: re.sub(r":[^:@,]*@", f":{MASK}@", found[1]), text)
        for spoken in _SPOKEN:
            text = spoken.sub(rf"\1{MASK}", text)
        return strutils.mask_password(text, MASK)


def _escaped(text):
    """The forms that a text has within other texts."""
    # (backslashreplace: a variable of the environment may have bytes that are no text.)
    in_url = quote(text, safe="", errors="backslashreplace")
    return {
        in_url,
        re.sub("%..", lambda found: found[0].lower(), in_url),
        json.dumps(text)[1:-1],
        json.dumps(text, ensure_ascii=False)[1:-1],
        repr(text)[1:-1],
    }
