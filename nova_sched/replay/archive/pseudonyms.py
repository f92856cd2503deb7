"""Pseudonyms: replacements for the texts of one export. Equal texts have equal ones, so that comparisons stay true."""

import ipaddress
import re
from collections.abc import Set
from hashlib import blake2b

from rpc_api.events.claim import CLAIM_REFUSED

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
#: Ids in Keystone's form, which are also found within a longer word.
_ID = re.compile(rf"{UUID.pattern}|[0-9a-f]{{32}}")
_PLAIN = re.compile(r"-?\d{1,9}(\.\d{1,9})?|true|false|\[\]|", re.IGNORECASE)
_WORD = re.compile(r"[0-9A-Za-z][0-9A-Za-z._@:-]*")
#: Reasons that nova_sched writes itself: a resource class, or a reason for which a claim was refused.
_OWN_REASON = re.compile(
    rf"({re.escape(CLAIM_REFUSED)})?([A-Z][A-Z0-9_]*|down|disabled|malformed \w+|the consumer holds "
    r"resources already)|claim refused|simulated failure"
)


class Pseudonyms:
    """Makes the pseudonyms of one export with a ``key`` (bytes) that is not kept. ``ids`` are the ids of projects and
    users in the logs."""

    def __init__(self, key: bytes, ids: Set[str]):
        self._key = key
        self._ids = ids
        self._addresses = {}

    def name(self, text: str | None) -> str | None:
        """Return the pseudonym of an id or a word, 32 hex digits; an empty text and None stay."""
        return self._hash("name", text).hex() if text else text

    def text(self, text: str | None) -> str | None:
        """Return the replacement of a free text; equal texts have equal ones."""
        return f"redacted {self._hash('text', text).hex()[:8]}" if text else text

    def reason(self, text: str) -> str:
        """Redact a reason. Reasons that nova_sched writes stay."""
        return text if _OWN_REASON.fullmatch(text) else self.text(text)

    def words(self, text: str) -> str:
        """Redact words that are separated by commas, each with :meth:`word`."""
        return ",".join(part.replace(part.strip(), self.word(part.strip()), 1) for part in text.split(","))

    def word(self, word: str) -> str:
        """Redact a word. Small numbers and booleans stay, unless they are the id of a project or user."""
        return word if _PLAIN.fullmatch(word) and word not in self._ids else self.name(word)

    def kept(self, text: str) -> str:
        """Redact the ids of projects and users in a text, and keep the rest."""
        return self.key(_WORD.sub(lambda found: self.name(found[0]) if found[0] in self._ids else found[0], text))

    def key(self, text: str) -> str:
        """Redact the ids of projects and users in Keystone's form in a key, or in a text that quotes one. (Filters
        build and split keys, so an id of another form, which may be any word, stays.)"""
        return _ID.sub(lambda found: self.name(found[0]) if found[0] in self._ids else found[0], text)

    def address(self, text: str | None) -> str | None:
        """Return the pseudonym of an IP address. Two addresses share the same number of leading bits as before."""
        if text and text not in self._addresses:
            self._addresses[text] = self._address(text)
        return self._addresses[text] if text else text

    def _address(self, text):
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return self.text(text)
        number, bits = int(address), address.max_prefixlen
        hidden = 0
        for place in range(bits):
            before = number >> (bits - place)
            flip = self._hash("address", f"{address.version}/{place}/{before}")[0] & 1
            hidden = hidden << 1 | ((number >> (bits - 1 - place) & 1) ^ flip)
        return str(type(address)(hidden) if address.version == 4 else ipaddress.IPv6Address(hidden))

    def _hash(self, kind, text):
        return blake2b(f"{kind}\0{text}".encode("utf-8", "surrogatepass"), key=self._key, digest_size=16).digest()

    def account(self, account: str | None, producers) -> str | None:
        """Redact an account. It stays if it is only the role or the name of a producer."""
        if account is None or account in {
            account_
            for producer in producers
            for account_ in (producer.partition("/")[0], producer.replace("/", ".", 1))
        }:
            return account
        return self.text(account)
