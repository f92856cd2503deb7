#!/bin/sh
# Keystone and the openstack client, as they are on a controller of a cloud before nova_sched comes. Runs in the tree.
# keystone.sh install: with the package index. keystone.sh start: with loopback only.
set -e
VENV=/opt/openstack ETC=/etc/keystone
export PATH="$VENV/bin:$PATH" OS_KEYSTONE_CONFIG_DIR="$ETC"
case "$1" in
install)
    apt-get update -q
    apt-get install -y -q --no-install-recommends python3-venv
    python3 -m venv "$VENV"
    pip install -q keystone==30.0.0 waitress python-openstackclient==10.5.0 osc-placement==4.9.1 -c "$2"
    apt-get clean
    ;;
start)
    mkdir -p "$ETC" /var/lib/keystone
    cat > "$ETC/keystone.conf" <<END
[DEFAULT]
log_file = /var/log/keystone.log
[database]
connection = sqlite:////var/lib/keystone/keystone.db
[identity]
password_hash_rounds = 4
[fernet_tokens]
key_repository = $ETC/fernet
[credential]
key_repository = $ETC/credential
END
    keystone-manage db_sync
    keystone-manage fernet_setup --keystone-user root --keystone-group root
    keystone-manage credential_setup --keystone-user root --keystone-group root
    keystone-manage bootstrap --bootstrap-password secret --bootstrap-region-id RegionOne \
        --bootstrap-public-url http://127.0.0.1:5000/v3 --bootstrap-internal-url http://127.0.0.1:5000/v3
    # SQLite takes one writer at a time.
    cat > /opt/openstack/serve.py <<END
from keystone.wsgi.api import application
from waitress import serve

serve(application, listen="127.0.0.1:5000", threads=2)
END
    setsid python /opt/openstack/serve.py > /var/log/keystone-serve.log 2>&1 < /dev/null &
    ln -s "$VENV/bin/openstack" /usr/local/bin/openstack
    ;;
esac
