"""Nova's functional tests that fail with our services, each with its reason. docs/differences/README.md has the same."""

EXPECTED: dict[str, str] = {}
