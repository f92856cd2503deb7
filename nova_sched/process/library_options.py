"""Sections of libraries: where the options of each are listed, and options that only earlier versions have."""

#: Entry points of the libraries whose options the services read. A library that is not installed lists nothing.
LISTED = frozenset(
    {
        "oslo.concurrency",
        "oslo.config",
        "oslo.log",
        "oslo.messaging",
        "oslo.reports",
        "oslo.service.periodic_task",
        "oslo.service.service",
        "oslo.versionedobjects",
    }
)
#: Section -> the entry point that lists its options. Those in LISTED are always read, the others only if a file has the
#: section, because their imports take up to half a second. Not every installation has all of these libraries, and a
#: file that is shared with Nova may have all of these sections.
LIBRARIES = {
    "audit_middleware_notifications": "keystonemiddleware.audit",
    "cors": "oslo.middleware",
    "healthcheck": "oslo.middleware",
    "keystone_authtoken": "keystonemiddleware.auth_token",
    "oslo_concurrency": "oslo.concurrency",
    "oslo_limit": "oslo.limit",
    "oslo_middleware": "oslo.middleware",
    "oslo_middleware_tracing": "oslo.middleware",
    "oslo_policy": "oslo.policy",
    "oslo_reports": "oslo.reports",
    "oslo_versionedobjects": "oslo.versionedobjects",
    "profiler": "osprofiler",
    "profiler_jaeger": "osprofiler",
    "profiler_otlp": "osprofiler",
    "ssl": "oslo.service.sslutils",
}
#: Our own list that imports keystoneauth1, which takes a quarter of a second.
NEUTRON_SECTION, NEUTRON = "neutron", "nova_sched.neutron"
#: Section -> entry point that is read only if a file has the section.
ON_DEMAND = {NEUTRON_SECTION: NEUTRON, **{section: name for section, name in LIBRARIES.items() if name not in LISTED}}
#: Sections in which a login to Keystone is described. Its options depend on the plugin that the section names.
LOGINS = (NEUTRON_SECTION, "keystone_authtoken", "oslo_limit")
#: Options that the oldest versions of the libraries which are supported here read, and that newer ones do not know.
EARLIER = {
    "healthcheck": {"path"},
    "keystone_authtoken": {
        "admin_password",
        "admin_tenant_name",
        "admin_token",
        "admin_user",
        "auth_admin_prefix",
        "auth_host",
        "auth_port",
        "auth_protocol",
        "auth_uri",
        "identity_uri",
    },
    "oslo_policy": {"enforce_scope"},
}
#: How the names of sections begin that the oldest supported oslo.middleware reads as it reads [cors].
CORS, OF_ORIGIN = "cors", "cors."
