"""Nova's functional tests that fail with our services, each with its reason, as docs/differences/README.md has them."""

EXPECTED: dict[str, str] = {}
