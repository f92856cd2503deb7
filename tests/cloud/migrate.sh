#!/bin/bash
# migrate.sh: a running stock cloud (STOCK=1 ./up.sh) passes to nova_sched and back, as docs/operating/migration.md says.
# Results: $CLOUD_DIR/report/migrate-*.log. nova_sched's Placement endpoint is on the port after the cloud's others.
# A step that fails ends it, and leaves the cloud as it is then: see its log, and begin again with down.sh --wipe.
set -e
. "$(dirname "$0")/env.sh"
. "$HERE/nova_sched.sh"
OURS=$((CLOUD_PORT + 9))
REPORT=$CLOUD_DIR/report; mkdir -p "$REPORT"
NOVA="nova super-conductor $(for c in $CELLS; do echo "conductor-$c"; done) $(for h in $CLOUD_HOSTS; do echo "compute-${h#*/}"; done)"
CONDUCTORS="super-conductor $(for c in $CELLS; do echo "conductor-$c"; done)"
STOCK_URL=http://127.0.0.1:$PLACEMENT

step() {             # step NAME COMMAND...
  local name=$1 began=$SECONDS; shift
  "$@" > "$REPORT/migrate-$name.log" 2>&1 || { stamp "$name: failed, see $REPORT/migrate-$name.log"; exit 1; }
  stamp "$name: ok, $((SECONDS - began)) s: $(tail -1 "$REPORT/migrate-$name.log")"
}
sched() { "$SCHED/nova-sched" "$1" $(logs) "${@:2}"; }
endpoint() {         # endpoint URL: Nova and Neutron use another Placement
  local id f
  for id in $(openstack endpoint list --service placement -f value -c ID); do openstack endpoint set --url "$1" "$id"; done
  for f in "$ETC"/nova.conf "$ETC"/neutron.conf; do
    sed -i '/^endpoint_override/d' "$f"
    printf '[placement]\nendpoint_override = %s\n' "$1" >> "$f"
  done
}
restart() {
  local stopping=()
  for name in "$@"; do stop "$name" & stopping+=($!); done
  wait "${stopping[@]}"
  for name in "$@"; do again "$name"; done
}
ready() { wait_for nova curl -s -m 5 -o /dev/null "http://127.0.0.1:$NOVA_PORT/"; python "$HERE/seed.py" wait-computes $CLOUD_HOSTS; }
NOVA_PORT=$((CLOUD_PORT + 3))
servers() { python "$HERE/some_servers.py" "$@"; }

SERVERS=6
step servers servers create $SERVERS
nova_sched_conf
step logs create_logs
conductors_up; schedulers_up nova_sched_scheduler
databases() { for c in $CELLS; do echo "--cell-database $c=mysql+pymysql://lab:lab@127.0.0.1:$DB/nova_$c"; done; }
step import sched import $(databases) --placement "$STOCK_URL"
step compare sched compare --placement "$STOCK_URL" --generations

# Placement's endpoint
for name in scheduler $CONDUCTORS; do stop "$name"; done
step import-again sched import $(databases) --placement "$STOCK_URL"
step compare-again sched compare $(databases) --placement "$STOCK_URL" --generations
endpoints_up $OURS; wait_for placement-1 curl -s -m 5 -o /dev/null "http://127.0.0.1:$OURS/"
endpoint "http://127.0.0.1:$OURS"
restart $NOVA; again scheduler; ready
step stock-scheduler servers check $SERVERS

# The scheduler
stop scheduler
for n in $(seq "$CLOUD_SCHEDULERS"); do stop scheduler-$n; done
schedulers_up
step scheduler servers check $SERVERS
# One that our scheduler placed lives on: the export must give it its user.
step place servers place
step owner servers owner "http://127.0.0.1:$OURS"

# And back
for n in $(seq "$CLOUD_SCHEDULERS"); do stop scheduler-$n; done
for name in $CONDUCTORS; do stop "$name"; done
step export sched export --placement "$STOCK_URL"
step compare-export sched compare --placement "$STOCK_URL"
step owner-export servers owner "$STOCK_URL"
endpoint "$STOCK_URL"
restart $NOVA; again scheduler; ready
step back servers check $SERVERS
# (By now the taps have reported every host, which was restarted twice.)
step compare-back sched compare $(databases) --placement "$STOCK_URL"
step delete servers delete
step audit $NM placement audit --verbose
for name in $(cd "$RUN" && ls -- placement-*.pid nova_sched-conductor-*.pid); do stop "${name%.pid}"; done
