"""The tests of the projection."""

from contextlib import contextmanager

from nova_sched.projection.digest import state_digest


@contextmanager
def unchanged_by(cell, unless=False):
    """Assert that what is folded inside changes the state of a :class:`tests.builders.Cell` in nothing but its
    producers' counts; with ``unless``, assert that it changes it."""
    before = digest_without_producers(cell.projection)
    yield
    assert (digest_without_producers(cell.projection) != before) == unless


def digest_without_producers(projection) -> str:
    """The digest of the state but for how far each producer is."""
    producers, projection.producers = projection.producers, {}
    try:
        return state_digest(projection)
    finally:
        projection.producers = producers
