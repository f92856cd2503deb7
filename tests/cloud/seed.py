"""seed.py identity | wait-computes CELL/HOST... | cloud: what a fresh cloud needs."""

import io
import os
import sys
import time

import openstack

PORT = int(os.environ.get("CLOUD_PORT", 21000))
PLACEMENT = os.environ.get("CLOUD_PLACEMENT_URL", f"http://127.0.0.1:{PORT + 2}")
ENDPOINTS = [
    ("image", "glance", f"http://127.0.0.1:{PORT + 1}"),
    ("placement", "placement", PLACEMENT),
    ("compute", "nova", f"http://127.0.0.1:{PORT + 3}/v2.1"),
    ("network", "neutron", f"http://127.0.0.1:{PORT + 4}"),
]
cloud = openstack.connect(compute_api_version="2.96")


def identity():
    keystone = cloud.identity
    project = keystone.create_project(name="service", domain_id="default")
    user = keystone.create_user(name="svc", password="secret", domain_id="default", default_project_id=project.id)
    for name in ("admin", "service"):
        keystone.assign_project_role_to_user(project, user, keystone.find_role(name))
    for kind, name, url in ENDPOINTS:
        service = keystone.create_service(type=kind, name=name)
        for interface in ("public", "internal", "admin"):
            keystone.create_endpoint(service_id=service.id, interface=interface, url=url, region_id="RegionOne")


def wait_computes(hosts):
    wanted = {pair.split("/")[1] for pair in hosts}
    for _ in range(240):
        seen = {s.host for s in cloud.compute.services() if s.binary == "nova-compute" and s.state == "up"}
        if wanted <= seen:
            return
        time.sleep(0.5)
    sys.exit(f"computes not up: {sorted(wanted - seen)}")


def cloud_itself():
    image = cloud.image.create_image(
        name="tiny",
        disk_format="raw",
        container_format="bare",
        visibility="public",
        data=io.BytesIO(b"\0" * 65536),
        allow_duplicates=True,
    )
    cloud.image.create_image(
        name="tiny-alt",
        disk_format="raw",
        container_format="bare",
        visibility="public",
        data=io.BytesIO(b"\1" * 65536),
        allow_duplicates=True,
    )
    for id, name, vcpus, ram, disk in (
        ("1", "m1.tiny", 1, 256, 1),
        ("2", "m1.small", 2, 512, 1),
        ("8", "m1.quarter", 16, 1024, 1),
        ("9", "m1.huge", 128, 1024, 1),
    ):
        cloud.compute.create_flavor(id=id, flavorid=id, name=name, vcpus=vcpus, ram=ram, disk=disk)
    public = cloud.network.create_network(
        name="public", is_router_external=True, provider_network_type="flat", provider_physical_network="public"
    )
    cloud.network.create_subnet(
        network_id=public.id, ip_version=4, cidr="172.24.4.0/24", enable_dhcp=False, name="public"
    )
    private = cloud.network.create_network(name="private", is_shared=True)
    cloud.network.create_subnet(network_id=private.id, ip_version=4, cidr="10.1.0.0/20", name="private")
    print("image", image.id, "public network", public.id)


{"identity": identity, "wait-computes": lambda: wait_computes(sys.argv[2:]), "cloud": cloud_itself}[sys.argv[1]]()
