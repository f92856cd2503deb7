#!/bin/bash
# up.sh [--install]: bring the cloud up; on a fresh $CLOUD_DIR also make it.
# --install: Debian packages and the two virtual environments first.
# env.sh lists what can be changed.
set -e
. "$(dirname "$0")/env.sh"
. "$HERE/nova_sched.sh"

install() {
  { command -v mariadbd && command -v rabbitmq-server; } > /dev/null || {
    apt-get update -q && DEBIAN_FRONTEND=noninteractive \
      apt-get install -y -q mariadb-server rabbitmq-server gcc python3-dev python3-venv
  } > "$LOG/apt.log" 2>&1
  stamp "Debian packages"
  python3 -m venv "$CLOUD_VENV"
  "$CLOUD_VENV/bin/pip" install -q -r "$HERE/requirements.txt" -c "$HERE/constraints.txt" > "$LOG/pip.log" 2>&1
  stamp "pip: the services"
  python3 -m venv "$CLOUD_TEMPEST_VENV"
  "$CLOUD_TEMPEST_VENV/bin/pip" install -q tempest==47.0.0 > "$LOG/pip-tempest.log" 2>&1
  stamp "pip: tempest"
}

configs() {
  local hc f
  for f in rabbitmq.conf keystone.conf authtoken nova-top.conf; do render $f $f; done
  for f in placement.conf glance-api.conf neutron.conf nova.conf; do
    render $f $f; cat "$ETC/authtoken" >> "$ETC/$f"; done
  for hc in $CELLS; do render nova-cell.conf nova-$hc.conf "$hc"; done
  for hc in $CELLS; do inside_of "$hc" "nova-$hc.conf"; done
  python - $CELLS > "$ETC/rabbit-definitions.json" <<'PY'
import base64, hashlib, json, sys
salt = b"labs"
vhosts = ["/"] + sys.argv[1:]
own = r"^nova_sched\.tap\."
def user(name, tags):
    words = salt + hashlib.sha256(salt + name.encode()).digest()
    return {"name": name, "tags": tags, "password_hash": base64.b64encode(words).decode(),
            "hashing_algorithm": "rabbit_password_hashing_sha256"}
def permission(name, vhost, own, read):
    return {"user": name, "vhost": vhost, "configure": own, "write": own, "read": read}
print(json.dumps({
    "users": [user("lab", "administrator"), user("tap", "")],
    "vhosts": [{"name": v} for v in vhosts],
    "permissions": [permission("lab", v, ".*", ".*") for v in vhosts]
    + [permission("tap", v, own, r"^(nova$|nova_sched\.tap\.)") for v in vhosts[1:]]}))
PY
  mkdir -p "$CLOUD_DIR"/{images,images-staging,images-tasks,locks,top,neutron,fernet,credential}
  for hc in $CELLS $CLOUD_HOSTS; do mkdir -p "$CLOUD_DIR/${hc#*/}"; done
}

mariadb_up() {
  if [ ! -d "$CLOUD_DIR/mysql/mysql" ]; then
    mkdir -p "$CLOUD_DIR/mysql"
    mariadb-install-db --no-defaults --datadir="$CLOUD_DIR/mysql" \
      --auth-root-authentication-method=normal --skip-test-db > "$LOG/db-install.log" 2>&1
    chown -R mysql "$CLOUD_DIR/mysql"
  fi
  # Lab only: no flush per commit.
  start mariadb mariadbd --no-defaults --user=mysql --datadir="$CLOUD_DIR/mysql" \
    --bind-address=127.0.0.1 --port=$DB --socket="$CLOUD_DIR/mysql/s.sock" \
    --pid-file="$CLOUD_DIR/mysql/m.pid" --innodb-buffer-pool-size=256M \
    --max-connections=600 --innodb-flush-log-at-trx-commit=0 --skip-log-bin \
    --performance-schema=OFF --skip-name-resolve
  wait_for mariadb $SQL -e "select 1"
  $SQL -e "create user if not exists 'lab'@'127.0.0.1' identified by 'lab';
           grant all on *.* to 'lab'@'127.0.0.1';"
}

rabbit_up() {
  local bin r=$CLOUD_DIR/rabbit
  bin=$(dirname "$(dpkg -L rabbitmq-server | grep 'rabbitmq_server-.*/sbin/rabbitmq-server$')")
  mkdir -p "$r/home"; echo '[].' > "$r/plugins"
  start epmd epmd
  start rabbit env HOME="$r/home" RABBITMQ_NODENAME=lab@localhost RABBITMQ_DIST_PORT=$DIST \
    RABBITMQ_MNESIA_BASE="$r/mnesia" RABBITMQ_LOG_BASE="$r/log" \
    RABBITMQ_CONFIG_FILE="$ETC/rabbitmq.conf" RABBITMQ_ENABLED_PLUGINS_FILE="$r/plugins" \
    RABBITMQ_CONF_ENV_FILE=/dev/null \
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1}" \
    "$bin/rabbitmq-server"
}

api() {              # api NAME PORT MODULE PROCESSES THREADS [ENV=...]: under uWSGI
  local name=$1 port=$2 module=$3 procs=$4 threads=$5; shift 5
  start "$name" env "$@" uwsgi --http-socket 127.0.0.1:$port --module "$module" --master \
    --processes "$procs" --threads "$threads" --enable-threads --lazy-apps --need-app \
    --die-on-term --listen 100 --buffer-size 65535 --disable-logging --thunder-lock \
    --add-header "Connection: close" --http-keepalive=60 --worker-reload-mercy 3 --virtualenv "$CLOUD_VENV"
}
up() { curl -s -m 5 -o /dev/null "http://127.0.0.1:$1/"; }

schemas() {          # only on a fresh directory; two at a time
  local db c
  for db in keystone glance placement neutron nova_api nova_cell0; do
    $SQL -e "create database $db character set utf8mb3"; done
  for c in $CELLS; do $SQL -e "create database nova_$c character set utf8mb3"; done
  (
    set -e
    keystone-manage --config-file "$ETC/keystone.conf" db_sync
    keystone-manage --config-file "$ETC/keystone.conf" fernet_setup --keystone-user root --keystone-group root
    keystone-manage --config-file "$ETC/keystone.conf" credential_setup --keystone-user root --keystone-group root
    keystone-manage --config-file "$ETC/keystone.conf" bootstrap --bootstrap-password secret \
      --bootstrap-region-id RegionOne --bootstrap-public-url http://127.0.0.1:$KEYSTONE/v3 \
      --bootstrap-internal-url http://127.0.0.1:$KEYSTONE/v3
    stamp "keystone schema and bootstrap" >&3
    neutron-db-manage --config-file "$ETC/neutron.conf" upgrade heads
    stamp "neutron schema" >&3
  ) > "$LOG/schemas-1.log" 2>&1 &
  local first=$!
  (
    set -e
    $NM api_db sync
    $NM cell_v2 map_cell0 --database_connection "mysql+pymysql://lab:lab@127.0.0.1:$DB/nova_cell0?charset=utf8"
    $NM db sync --local_cell
    for c in $CELLS; do
      # A cell's schema is cell0's.
      mariadb-dump --no-defaults -S "$CLOUD_DIR/mysql/s.sock" -u root nova_cell0 | $SQL "nova_$c"
      $NM cell_v2 create_cell --name "$c" \
        --transport-url "rabbit://lab:lab@127.0.0.1:$RABBIT/$c" \
        --database_connection "mysql+pymysql://lab:lab@127.0.0.1:$DB/nova_$c?charset=utf8"
    done
    stamp "nova schemas and cells" >&3
    [ -z "$STOCK" ] || placement-manage --config-file "$ETC/placement.conf" db sync
    glance-manage --config-file "$ETC/glance-api.conf" db_sync
    stamp "placement and glance schemas" >&3
  ) > "$LOG/schemas-2.log" 2>&1 &
  wait $first; wait $!
}

exec 3>&1
[ "$1" = --install ] && install
configs
rabbit_up
mariadb_up
FRESH=; [ -e "$CLOUD_DIR/seeded" ] || FRESH=yes
if [ -n "$FRESH" ] && [ -d "$CLOUD_DIR/mysql/nova_api" ]; then
  echo "the cloud in $CLOUD_DIR was not finished when it was made; run $HERE/down.sh --wipe first" >&2; exit 1
fi
stamp "MariaDB"
[ -z "$FRESH" ] || schemas
api keystone $KEYSTONE keystone.wsgi.api:application 2 1 OS_KEYSTONE_CONFIG_DIR="$ETC"
wait_for keystone up $KEYSTONE
[ -z "$FRESH" ] || python "$HERE/seed.py" identity
stamp "keystone"
wait_for rabbit bash -c "echo > /dev/tcp/127.0.0.1/$RABBIT"
[ -z "$STOCK" ] || api placement $PLACEMENT placement.wsgi.api:application 2 1 OS_PLACEMENT_CONFIG_DIR="$ETC"
api glance $GLANCE glance.wsgi.api:application 1 4 OS_GLANCE_CONFIG_DIR="$ETC"
api neutron $NEUTRON neutron.wsgi.api:application 2 1 OS_NEUTRON_CONFIG_DIR="$ETC" OS_NEUTRON_CONFIG_FILES=neutron.conf
if [ -n "$STOCK" ]; then wait_for placement up $PLACEMENT; else
  nova_sched_conf
  [ -z "$FRESH" ] || create_logs > "$LOG/nova_sched-create-log.log"
  conductors_up; schedulers_up; endpoints_up $PLACEMENT
  wait_for placement-1 up $PLACEMENT
fi

start super-conductor nova-conductor --config-file "$ETC/nova.conf" --config-file "$ETC/nova-top.conf" \
  --log-file "$LOG/nova-super-conductor.log"
for c in $CELLS; do
  start conductor-$c nova-conductor --config-file "$ETC/nova.conf" --config-file "$ETC/nova-$c.conf" \
    --log-file "$LOG/nova-conductor-$c.log"
done
[ -z "$STOCK" ] || start scheduler nova-scheduler --config-file "$ETC/nova.conf" \
  --config-file "$ETC/nova-top.conf" --log-file "$LOG/nova-scheduler.log"
api nova $NOVA nova.wsgi.osapi_compute:application 2 4 OS_NOVA_CONFIG_DIR="$ETC" \
  OS_NOVA_CONFIG_FILES="$CLOUD_VENV/etc/nova/api-paste.ini;nova.conf;nova-top.conf"
for hc in $CLOUD_HOSTS; do compute_up "$hc"; done
wait_for glance up $GLANCE
wait_for neutron up $NEUTRON
wait_for nova up $NOVA
stamp "APIs"
python "$HERE/seed.py" wait-computes $CLOUD_HOSTS
stamp "computes"
$NM cell_v2 discover_hosts > "$LOG/discover.log" 2>&1
[ -z "$FRESH" ] || { python "$HERE/seed.py" cloud; touch "$CLOUD_DIR/seeded"; }
stamp "up: . $HERE/env.sh; openstack hypervisor list"
