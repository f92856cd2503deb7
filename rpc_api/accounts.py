"""Who may speak as whom: the account that a record was appended with, against the producers of its events.

A RabbitMQ broker compares the ``user_id`` of a message with the user of the connection that publishes it, and refuses a
message whose ``user_id`` is another: so a reader knows from which account a record came, and nobody can pretend to be
somebody else by what is in the bytes. A log in a file or in memory knows no accounts.

The account ``ROLE.NAME`` speaks as the producer ``ROLE/NAME`` alone; the account ``ROLE`` as all producers of its role.
"""


def speaks_for(account: str | None, producer: str) -> bool:
    """Whether a record of ``account`` (None: nobody vouches for it) may hold events of ``producer``."""
    role, _, name = producer.partition("/")
    return account is not None and account in (role, f"{role}.{name}")
