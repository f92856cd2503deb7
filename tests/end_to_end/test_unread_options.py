"""What configuration files hold that nobody reads: who names it, and that nothing else is named."""

import re
import signal
import subprocess
import sys

import pytest
from oslo_config import cfg

from compute_agent import config as agents
from conductor import config as conductors
from nova_sched.process import unread_options
from nova_sched.replay.health import upgrade
from nova_sched.scheduler import config as schedulers
from placement_api import config as placement
from tests.end_to_end.processes import ServiceProcess, config_text, run, sections_for

REGISTERS = {
    "scheduler": schedulers.register,
    "conductor": conductors.register,
    "agent": agents.register,
    "placement": placement.register,
}


def read(tmp_path, text, register=schedulers.register):
    path = tmp_path / "a.conf"
    path.write_text(text)
    conf = cfg.ConfigOpts()
    register(conf)
    conf(["--config-file", str(path)], default_config_dirs=[])
    return path, conf


def unread(tmp_path, text, register=schedulers.register):
    path, conf = read(tmp_path, text, register)
    found = list(unread_options.unread(conf))
    assert all(one.startswith(f"{path}: ") for one in found)
    return [one.removeprefix(f"{path}: ") for one in found]


#: Text of a file, the warning about it.
NAMED = [
    ("[snapshot]\nurl = x", [r"\[snapshot\] url is read by no service: .* the nearest is \[snapshots\]"]),
    (
        "[filter_schduler]\nenabled_filters = x",
        [r"\[filter_schduler\] enabled_filters .* the nearest is \[filter_scheduler\]"],
    ),
    (
        "[filter_scheduler]\nenabled_filter = x",
        [r"\[filter_scheduler\] enabled_filter .* nearest is \[filter_scheduler\] enabled_filters;"],
    ),
    ("[filter_scheduler]\nenabled-filters = x", [r"enabled-filters .* \[filter_scheduler\] enabled_filters;"]),
    (
        "[scheduler]\nenabled_filters = x",
        [r"\[scheduler\] enabled_filters .* \[filter_scheduler\] enabled_filters; move"],
    ),
    ("[DEFAULT]\ntransport_ulr = x", [r"\[DEFAULT\] transport_ulr .* \[DEFAULT\] transport_url;"]),
    ("[oslo_messaging_rabit]\nssl = 1", [r"nearest is \[oslo_messaging_rabbit\]"]),
    ("[oslo_messaging_rabbit]\nrabbit_quorum_queues = 1", [r"nearest is .* rabbit_quorum_queue;"]),
    ("[other]\nzzz = 1\nyyy = 2", [r"\[other\] zzz is read by no service", r"\[other\] yyy is read by no service"]),
    (
        "[cells]\nenabled = a\n[cell:a]\nurl = x\n[cell:b]\nlog = x",
        [r"\[cell:a\] url is read by no service", r"\[cell:b\] is not read: \[cells\] enabled names no cell 'b'"],
    ),
    ("[neutron]\nauth_type = password\nuser_name = u\nauth_ulr = x", [r"auth_ulr .* nearest is \[neutron\] auth_url"]),
    # Sections of libraries, also of those that the service does not use.
    ("[oslo_policy]\npolicy_file = x\npolcy_file = x", [r"polcy_file .* nearest is \[oslo_policy\] policy_file;"]),
    ("[oslo_policy]\nenforce_scop = x", [r"enforce_scop .* nearest is \[oslo_policy\] enforce_scope;"]),
    (
        "[keystone_authtoken]\nauth_type = password\nauth_ulr = x\nusrname = y\nmemcached_server = z",
        [
            r"auth_ulr .* nearest is \[keystone_authtoken\] auth_url;",
            r"usrname .* nearest is \[keystone_authtoken\] username;",
            r"memcached_server .* nearest is \[keystone_authtoken\] memcached_servers;",
        ],
    ),
    ("[keystone_authtoken]\nauth_ulr = x", [r"auth_ulr .* nearest is \[keystone_authtoken\] auth_url;"]),
    (
        "[keystone_authtoken]\nauth_section = account\n[account]\nauth_type = password\nusrname = x",
        [r"\[account\] usrname .* nearest is \[account\] username;"],
    ),
    (
        "[keystone_authtoken]\nauth_type = of_a_deployer\nits_own = x\nauth_ulr = x",
        [r"auth_ulr .* nearest is \[keystone_authtoken\] auth_url;"],
    ),
    ("[cors]\nalowed_origin = x", [r"alowed_origin .* nearest is \[cors\] allowed_origin;"]),
    ("[oslo_concurrency]\nlock_pth = x", [r"lock_pth .* nearest is \[oslo_concurrency\] lock_path;"]),
    ("[healthcheck]\ndetaild = x", [r"detaild .* nearest is \[healthcheck\] detailed;"]),
    ("[oslo_middleware]\nmax_body_size = 1", [r"max_body_size .* \[oslo_middleware\] max_request_body_size;"]),
    ("[oslo_middleware_tracing]\nenable = 1", [r"enable .* nearest is \[oslo_middleware_tracing\] enabled;"]),
    ("[oslo_reports]\nlog_dri = x", [r"log_dri .* nearest is \[oslo_reports\] log_dir;"]),
    ("[oslo_versionedobjects]\nfatal_errors = x", [r"fatal_errors is read by no service"]),
    ("[ssl]\ncert_fil = x", [r"cert_fil .* nearest is \[ssl\] cert_file;"]),
    ("[audit_middleware_notifications]\ndrivr = x", [r"drivr .* \[audit_middleware_notifications\] driver;"]),
    ("[oslo_polcy]\npolicy_file = x", [r"no section \[oslo_polcy\], the nearest is \[oslo_policy\];"]),
    ("[keystone_authtokn]\nauth_url = x", [r"no section \[keystone_authtokn\], .* is \[keystone_authtoken\];"]),
    # Rather an option that is read, with a typing error, than an option of Nova.
    (
        "[notifications]\nnotification_formt = x\nnotify_on_state_change = x",
        [
            r"notification_formt .* nearest is \[notifications\] notification_format;",
            r"\[notifications\] notify_on_state_change is an option of Nova",
        ],
    ),
    # Nova's, which have no effect here.
    (
        "[filter_scheduler]\nshuffle_best_same_weighed_hosts = true",
        [r"shuffle_best_same_weighed_hosts is an option of Nova .*equal hosts are always drawn from by chance"],
    ),
    (
        "[DEFAULT]\ncpu_allocation_ratio = 3",
        [r"cpu_allocation_ratio is an option of Nova .*part of what an agent reports"],
    ),
    ("[DEFAULT]\nreserved_host_memory_mb = 1", [r"set \[compute_agent\] reserved_memory_mb"]),
    ("[DEFAULT]\nscheduler_default_filters = x", [r"set \[filter_scheduler\] enabled_filters"]),
    ("[scheduler]\nmax_placement_results = 3", [r"\[scheduler\] max_placement_results is an option"]),
    (
        "[database]\nconnection = x\nmax_retries = 1",
        [r"\[database\] connection, max_retries are options of Nova .*logs"],
    ),
    ("[api_database]\nconnection = x", [r"\[api_database\] connection is an option of Nova"]),
    ("[placement]\nauth_url = x\n[libvirt]\nvirt_type = kvm", [r"\[placement\] auth_url", r"\[libvirt\] virt_type"]),
]


@pytest.mark.parametrize("service", REGISTERS)
@pytest.mark.parametrize("text, said", NAMED, ids=[row[0].split("\n")[-1] for row in NAMED])
def test_each_is_named(tmp_path, service, text, said):
    found = unread(tmp_path, text, REGISTERS[service])
    assert len(found) == len(said)
    for one, pattern in zip(found, said, strict=True):
        assert re.search(pattern, one), one


SILENT = [
    # A section of the sample: all its lines are comments.
    "[cells]\nenabled = cell1\n[cell:name]\n# log = x\n[cell:cell1]\nlog = x\n",
    "",
    "[DEFAULT]\ndebug = true\ngraceful_shutdown_timeout = 3\nrpc_response_timeout = 3\ncontrol_exchange = x",
    "[oslo_messaging_rabbit]\nheartbeat_rate = 3\nrabbit_retry_interval = 1\n[oslo_reports]\nlog_dir = /tmp",
    "[oslo_messaging_notifications]\ndriver = noop\n[oslo_policy]\npolicy_file = x\n[keystone_authtoken]\nusername = x",
    "[oslo_concurrency]\nlock_path = /tmp",
    "[oslo_middleware_tracing]\nenabled = false",
    "[keystone_authtoken]\nauth_type = v3applicationcredential\napplication_credential_id = x\nmemcache_servers = y",
    "[keystone_authtoken]\nauth_plugin = v2password\ntenant_name = x\nuser_name = y\nauth_uri = z\nidentity_uri = z",
    "[keystone_authtoken]\nauth_type = of_a_deployer\nits_own = x\nauth_url = x\nservice_token_roles = y",
    "[keystone_authtoken]\nauth_section = account\n[account]\nauth_url = x\npassword = y",
    "[oslo_policy]\nenforce_scope = x\nenforce_new_defaults = x\npolicy_dirs = y\n[cors.other]\nallowed_origin = x",
    "[healthcheck]\npath = x\nbackends = disable_by_file\ndisable_by_file_path = y\n[cors]\nallowed_origin = x",
    # These libraries are not installed.
    "[oslo_limit]\nauth_type = password\nusername = x\nendpoint_id = y\n[profiler]\nhmac_keys = x",
    "[Scheduler]\nmax_attempts = 3\n[CONDUCTOR]\nclaim_ttl = 3000",
    "[pci]\npassthrough_whitelist = {}\n[DEFAULT]\npci_passthrough_whitelist = {}\n[compute]\ncpu_shared_set = 1",
    "[neutron]\nauth_type = v3applicationcredential\napplication_credential_id = x\ntenant_name = x\ncafile = x",
    "[neutron]\nauth_section = account\n[account]\nauth_type = password\nauth_url = x\npassword = y",
    "[compute_agent]\nsimulated_hosts = 3\nhost = a\n[conductor]\nname = a\n[metrics]\nrequired = true",
    "[cells]\nenabled = a, B\n[cell:a]\nlog = x\nuuid = y\n[cell:B]\ntransport_url = x",
]


@pytest.mark.parametrize("service", REGISTERS)
@pytest.mark.parametrize("text", SILENT)
def test_what_some_service_or_library_reads_is_not_named(tmp_path, service, text):
    assert unread(tmp_path, text, REGISTERS[service]) == []


def test_an_upgrade_check_names_what_no_service_registers(tmp_path):
    path, conf = read(tmp_path, "[oslo_policy]\npolcy_file = x\n[cors]\nallowed_origin = x")
    assert upgrade.of_options(conf) == (
        upgrade.State.WARNING,
        f"1 option has no effect: {path}: [oslo_policy] polcy_file is read by no service, the nearest is [oslo_policy] "
        "policy_file; fix or remove it",
    )


def test_a_library_whose_options_cannot_be_listed_has_any_option(tmp_path, monkeypatch):
    monkeypatch.setattr(unread_options.metadata, "entry_points", lambda **asked: [])
    assert unread(tmp_path, "[keystone_authtoken]\nauth_type = password\nmemcached_servers = x\n[ssl]\na = b") == []


@pytest.mark.parametrize("login", ["", "auth_type = password", "auth_type = of_a_deployer"])
def test_plugins_whose_libraries_are_missing_are_not_reported(tmp_path, caplog, login):
    assert unread(tmp_path, f"[keystone_authtoken]\n{login}\nauth_url = x") == []
    assert [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []


def test_libraries_are_imported_only_for_their_sections(tmp_path):
    path, _ = read(tmp_path, "[scheduler]\nname = x")
    script = (
        "import sys\nfrom oslo_config import cfg\nfrom nova_sched.process import unread_options\n"
        f"conf = cfg.ConfigOpts()\nconf(['--config-file', {str(path)!r}])\nlist(unread_options.unread(conf))\n"
        "print([name for name in ('keystonemiddleware', 'keystoneauth1') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


DEPLOYERS = (
    "[filter_scheduler]\navailable_filters = nova.scheduler.filters.all_filters\navailable_filters = mine.Mine\n"
)


@pytest.mark.parametrize(
    "text, count",
    [
        (DEPLOYERS + "[mine]\nlimit = 3", 0),
        (DEPLOYERS + "[mine]\nlimit = 3\n[snapshot]\nurl = x", 1),
        (DEPLOYERS + "my_own = 1\nenabled_filter = x", 1),
        (DEPLOYERS + "[database]\nconnection = x", 1),
        ("[filter_scheduler]\nenabled_filters = ComputeFilter\n[mine]\nlimit = 3", 1),
    ],
)
def test_options_of_classes_that_only_the_scheduler_loads(tmp_path, text, count):
    assert len(unread(tmp_path, text, conductors.register)) == count


def test_options_of_a_driver_that_only_the_agent_loads(tmp_path):
    text = "[compute_agent]\ndriver = theirs\ntheir_limit = 3\nreport_intervall = 3"
    assert len(unread(tmp_path, text)) == 1


def test_options_that_classes_of_deployers_registered_are_known(tmp_path):
    # They stay registered: once the shared configuration is parsed, as other tests do, nothing can be taken out of it.
    cfg.CONF.register_opts([cfg.StrOpt("limit")], "registered_by_a_test")
    assert len(unread(tmp_path, DEPLOYERS + "[registered_by_a_test]\nlimit = 3\nlimits = 3")) == 1


def test_every_file_is_looked_at(tmp_path):
    more = tmp_path / "nova_sched.conf.d"
    more.mkdir()
    (more / "b.conf").write_text("[snapshot]\nurl = x\n")
    (tmp_path / "a.conf").write_text("[cells]\nenable = x\n")
    conf = cfg.ConfigOpts()
    schedulers.register(conf)
    conf(["--config-file", str(tmp_path / "a.conf"), "--config-dir", str(more)])
    found = list(unread_options.unread(conf))
    assert [one.partition(":")[0] for one in found] == [str(tmp_path / "a.conf"), str(more / "b.conf")]


@pytest.mark.parametrize("service, args", [("scheduler", ()), ("conductor", ("--level", "api")), ("agent", ())])
def test_services_warn_at_start_and_on_reload(tmp_path, service, args):
    path = tmp_path / "nova_sched.conf"
    path.write_text(config_text(sections_for(tmp_path, snapshot={"url": "file:///x"})))
    with ServiceProcess(tmp_path, service, "--config-file", str(path), *args) as process:
        process.wait_ready()
        assert len(re.findall(rf" WARNING .*{path}: \[snapshot\] url is read by no service", process.stderr)) == 1
        path.write_text(config_text(sections_for(tmp_path, filter_schduler={"enabled_filters": "x"})))
        process.send(signal.SIGHUP)
        process.wait_for(r" WARNING .*\[filter_schduler\] enabled_filters is read by no service")
        assert process.stop() == 0


def test_a_mistyped_section_is_named_where_the_service_cannot_start(tmp_path):
    path = tmp_path / "nova_sched.conf"
    path.write_text(config_text(sections_for(tmp_path, cells=None, cell={"enabled": "cell1"})))
    done = run("scheduler", "--config-file", str(path))
    assert done.returncode == 2
    assert re.search(r"WARNING .*\[cell\] enabled is read by no service.*\[cells\]; fix or remove it\n", done.stderr)


@pytest.mark.parametrize(
    "place",
    [
        ".nova_sched/nova_sched.conf",
        "nova_sched.conf",
        ".nova_sched/nova-sched-agent.conf",
        "nova_sched.conf.d/a.conf",
        ".nova_sched/nova-sched-agent.conf.d/a.conf",
    ],
)
def test_configuration_is_found_as_other_services_find_theirs(tmp_path, place):
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(config_text(sections_for(tmp_path, conductor={"nonsense": 1})))
    with ServiceProcess(tmp_path, "agent", env={"HOME": str(tmp_path)}) as process:
        process.wait_for(rf"{path}: \[conductor\] nonsense is read by no service")
        process.wait_ready()
        assert process.stop() == 0
