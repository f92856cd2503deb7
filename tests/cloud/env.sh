# Sourced by the other scripts. Everything written while running goes to $CLOUD_DIR.
HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
: "${CLOUD_DIR:=$(cd "$HERE/../.." && pwd)/out/cloud}"  # data, logs, sockets, rendered configs
: "${CLOUD_VENV:=$CLOUD_DIR/venv}"             # keystone glance placement neutron nova osc
: "${CLOUD_TEMPEST_VENV:=$CLOUD_DIR/venv-tempest}"
: "${CLOUD_PORT:=21000}"                       # first of ten private ports; one more per cell
: "${CLOUD_HOSTS:=cell1/host1 cell1/host2}"    # cell/host of every nova-compute
: "${CLOUD_DRIVER:=fake.FakeDriverWithoutFakeNodes}"
: "${CLOUD_FAILING:=}"           # hosts on which the first build of each server fails; they cannot be restarted
: "${CLOUD_PLACEMENT_URL:=http://127.0.0.1:$((CLOUD_PORT + 2))}"  # the catalog's Placement
: "${STOCK:=}"                   # 1: nova-scheduler and Placement instead of nova_sched
: "${NOVA_SCHED_BIN:=$(cd "$HERE/../.." && pwd)/.venv/bin}"  # where nova_sched's commands are
: "${CLOUD_SCHEDULERS:=2}"       # processes of nova-sched-scheduler
: "${CLOUD_WORKERS:=2}"          # processes of nova-sched-placement per endpoint
: "${CLOUD_NOVA_DEBUG:=False}"   # True: Nova's logs show each call to Placement
export CLOUD_DIR CLOUD_PORT CLOUD_PLACEMENT_URL
KEYSTONE=$CLOUD_PORT GLANCE=$((CLOUD_PORT + 1)) PLACEMENT=$((CLOUD_PORT + 2))
NOVA=$((CLOUD_PORT + 3)) NEUTRON=$((CLOUD_PORT + 4)) DB=$((CLOUD_PORT + 5))
RABBIT=$((CLOUD_PORT + 6)) DIST=$((CLOUD_PORT + 7)) EPMD=$((CLOUD_PORT + 8))
export ERL_EPMD_PORT=$EPMD ERL_EPMD_ADDRESS=127.0.0.1
CELLS="$(for h in $CLOUD_HOSTS; do echo "${h%/*}"; done | sort -u)"
cell_port() {        # cell_port CELL: the port of the Placement endpoint inside the cell
  local number=0 cell
  for cell in $CELLS; do number=$((number + 1)); [ "$cell" = "$1" ] && echo $((CLOUD_PORT + 9 + number)); done
}
several_cells() { [ "$(echo $CELLS | wc -w)" -gt 1 ]; }
ETC=$CLOUD_DIR/etc LOG=$CLOUD_DIR/log RUN=$CLOUD_DIR/run
export PATH="$CLOUD_VENV/bin:$PATH" PYTHONPATH="$HERE/plugins"
unset http_proxy https_proxy
export OS_AUTH_URL=http://127.0.0.1:$KEYSTONE/v3 OS_USERNAME=admin OS_PASSWORD=secret \
  OS_PROJECT_NAME=admin OS_USER_DOMAIN_ID=default OS_PROJECT_DOMAIN_ID=default \
  OS_IDENTITY_API_VERSION=3 OS_REGION_NAME=RegionOne OS_PLACEMENT_API_VERSION=1.39
SQL="mariadb --no-defaults -S $CLOUD_DIR/mysql/s.sock -u root"
mkdir -p "$ETC" "$LOG" "$RUN"

alive() {            # alive NAME: it runs. One that has ended, and that nobody waited for, does not
  local stat
  [ -f "$RUN/$1.pid" ] && stat=$(cat "/proc/$(cat "$RUN/$1.pid")/stat" 2> /dev/null) && [[ ${stat##*) } != Z* ]]
}
start() {            # start NAME COMMAND...: in the background, pid file, own log
  local name=$1; shift
  alive "$name" && return
  printf '%q ' "$@" > "$RUN/$name.command"
  setsid nohup "$@" >> "$LOG/$name.out" 2>&1 < /dev/null 3>&- &
  echo $! > "$RUN/$name.pid"
}
again() {            # again NAME: start a process that died, as it was started before
  eval "start $1 $(cat "$RUN/$1.command")"
}
stop() {             # stop NAME: SIGTERM, 20 s, then SIGKILL of it and of what it has started
  alive "$1" || { rm -f "$RUN/$1.pid"; return 0; }
  local since=$SECONDS
  kill "$(cat "$RUN/$1.pid")"
  for _ in $(seq 80); do alive "$1" || break; sleep 0.25; done
  alive "$1" && { echo "$1 needed SIGKILL" >&2; kill -9 -- "-$(cat "$RUN/$1.pid")" || kill -9 "$(cat "$RUN/$1.pid")"; }
  rm -f "$RUN/$1.pid"
  [ $((SECONDS - since)) -lt 10 ] || echo "$1 took $((SECONDS - since)) s to stop"
}
wait_for() {         # wait_for NAME COMMAND...: up to two minutes, while NAME lives
  local name=$1; shift
  for _ in $(seq 480); do
    "$@" > /dev/null 2>&1 && return; alive "$name" || break; sleep 0.25; done
  echo "$name did not come up; see $LOG/$name.out" >&2; exit 1
}
stamp() { echo "[$SECONDS s] $*"; }
render() {           # render TEMPLATE TARGET [CELL [HOST]]
  sed -e "s#@DIR@#$CLOUD_DIR#g; s#@ETC@#$ETC#g; s#@LOG@#$LOG#g; s#@VENV@#$CLOUD_VENV#g" \
      -e "s#@KEYSTONE@#$KEYSTONE#g; s#@DB@#$DB#g; s#@RABBIT@#$RABBIT#g" \
      -e "s#@DRIVER@#$CLOUD_DRIVER#g; s#@DEBUG@#$CLOUD_NOVA_DEBUG#g" \
      -e "s#@KSA@#$([ $CLOUD_NOVA_DEBUG = True ] && echo DEBUG || echo WARN)#g" \
      -e "s#@CELL@#$3#g; s#@HOST@#$4#g; s#@UUID@#$5#g; s#@CELLS@#${CELLS//$'\n'/,}#g" "$HERE/etc/$1.in" > "$ETC/$2"
}
inside_of() {        # inside_of CELL CONF: Nova's services in a cell use the Placement endpoint of that cell
  [ -n "$STOCK" ] || ! several_cells || printf '[placement]\nendpoint_override = http://127.0.0.1:%s\n' "$(cell_port "$1")" >> "$ETC/$2"
}
compute_up() {       # compute_up CELL/HOST: start a nova-compute
  local cell=${1%/*} host=${1#*/} CLOUD_DRIVER=$CLOUD_DRIVER
  [[ " $CLOUD_FAILING " = *" $host "* ]] && CLOUD_DRIVER=fake.FakeRescheduleDriver
  mkdir -p "$CLOUD_DIR/$host"
  render nova-compute.conf "nova-$host.conf" "$cell" "$host"
  inside_of "$cell" "nova-$host.conf"
  start "compute-$host" nova-compute --config-file "$ETC/nova.conf" --config-file "$ETC/nova-$host.conf" \
    --log-file "$LOG/nova-compute-$host.log"
}
NM="nova-manage --config-file $ETC/nova.conf --config-file $ETC/nova-top.conf --log-file $LOG/nova-manage.log"
