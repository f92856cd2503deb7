"""Which account may publish for which producer.

A RabbitMQ broker compares the ``user_id`` of a message with the user of the connection that publishes it, and refuses a
message whose ``user_id`` is another: so a reader knows the account that a record came from, and the bytes of a record
cannot pretend to be of another account. A log in a file or in memory has no accounts.

The account ``ROLE.NAME`` publishes for the producer ``ROLE/NAME`` only, the account ``ROLE`` for all producers of its
role.
"""


def speaks_for(account: str | None, producer: str) -> bool:
    """Whether a record of ``account`` (None: not known) may contain events of ``producer``."""
    role, _, name = producer.partition("/")
    return account is not None and account in (role, f"{role}.{name}")
