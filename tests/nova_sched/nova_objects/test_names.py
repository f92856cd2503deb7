"""The names of Nova's objects, which a process with Nova can import."""

import subprocess
import sys

from nova_sched.nova_objects.names import FIELDS
from nova_sched.nova_objects.tables import OBJECTS


def test_the_fields_that_are_published_are_those_that_are_read():
    assert FIELDS == {name: tuple(table) for name, table in OBJECTS.items()}


def test_the_names_bring_no_other_module_into_a_nova_compute():
    program = (
        "import sys; before = set(sys.modules); import nova_sched.nova_objects.names; "
        "print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['nova_sched', 'nova_sched.nova_objects', 'nova_sched.nova_objects.names']"
