"""An option that a release before had is read by this one, or its notes say that it is gone."""

import pytest

from nova_sched.cli import command_config
from nova_sched.process import unread_options
from tests.upgrade.previous import COMMIT, WITH_API, check_out, run_script
from tests.upgrade.test_old_logs import HERE

#: (Section, option) of those that were removed, with a release note.
REMOVED: set[tuple[str, str]] = {("filter_scheduler", "shuffle_best_same_weighed_hosts")}


@pytest.mark.parametrize("commit", [COMMIT, WITH_API], ids=["35fdbc0", "42381329"])
def test_options_of_a_release_before_are_known(tmp_path, commit):
    written = run_script(check_out(tmp_path / "release", commit), HERE / "write_options.py")
    assert written.count(" = ") > 100
    path = tmp_path / "nova_sched.conf"
    path.write_text(written)
    empty = tmp_path / "empty.conf"
    empty.write_text("")
    conf = command_config.read([str(empty)])
    unread = list(unread_options.unread(conf, [str(path)]))
    assert [text for text in unread if not any(f"[{section}] {name} " in text for section, name in REMOVED)] == []
