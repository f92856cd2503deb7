#!/bin/bash
# test_cloud.sh [short]: bring a fresh cloud up, check it, and take it down. Results: $CLOUD_DIR/report.
# short: one boot, one move, one reschedule. With STOCK=1: the same checks of stock services.
set -e
. "$(dirname "$0")/env.sh"
. "$HERE/nova_sched.sh"
export STOCK CLOUD_VENV CLOUD_TEMPEST_VENV NOVA_SCHED_BIN
REPORT=$CLOUD_DIR/report
FAILING=cell1/host3
INSTALL=--install; [ ! -x "$CLOUD_VENV/bin/nova-compute" ] || INSTALL=
"$HERE/down.sh" --wipe
# (What an earlier run left there must not be taken for a result of this one.)
[ ! -e "$REPORT" ] || { rm -rf "$REPORT.before"; mv "$REPORT" "$REPORT.before"; }
mkdir -p "$REPORT" "$ETC" "$LOG" "$RUN"
finish() {           # keep the logs of the services if something failed, and take the cloud down
  local code=$?
  [ $code = 0 ] || cp -r "$LOG" "$REPORT/services"
  "$HERE/down.sh" --wipe > "$REPORT/down.log" 2>&1
  exit $code
}
trap finish EXIT
"$HERE/up.sh" $INSTALL

failed=0
check() {            # check NAME COMMAND...: run a check; its output goes to the report
  local name=$1; shift
  if "$@" > "$REPORT/$name.log" 2>&1; then stamp "$name: ok"; else stamp "$name: failed, see $REPORT/$name.log"; failed=1; fi
}
nothing_left() {     # nova-manage finds no allocation without an instance
  $NM placement audit --verbose
}
evidence() {         # every decision is in the log, verified, and made again
  "$SCHED/nova-sched-replay" $(logs) replay --verify &&
    "$SCHED/nova-sched-replay" $(logs) check &&
    "$SCHED/nova-sched-replay" $(logs) stats
}
operators() {        # the commands of operators; the names of the logs are in the environment
  NOVA_SCHED_LOG=$(logs | sed 's/^--log //' | tr '\n' ' ') python "$HERE/operators.py" "$REPORT/operators.json"
}
failing_host() { CLOUD_FAILING=${FAILING#*/} "$HERE/add_host.sh" "$FAILING"; }
if [ "$1" = short ]; then
  check add-host failing_host
  check short python "$HERE/short.py" "${FAILING#*/}"
else
  check prove python "$HERE/prove.py" "$REPORT/prove.json"
  check prove-beside-stock python "$HERE/compare.py" "$HERE/baseline/prove-stock.json" "$REPORT/prove.json"
  [ -n "$STOCK" ] || check operators operators
  check add-host failing_host
  check moves python "$HERE/moves.py" "${FAILING#*/}" "$REPORT/moves.json"
  check moves-beside-stock python "$HERE/compare.py" "$HERE/baseline/moves-stock.json" "$REPORT/moves.json"
  for host in $CLOUD_HOSTS; do compute_up "$host"; done
  python "$HERE/seed.py" wait-computes $CLOUD_HOSTS
  check tempest "$HERE/tempest.sh" "$REPORT/tempest.txt"
  check chaos python "$HERE/chaos.py" "$REPORT/chaos.json"
  check chaos-beside-stock python "$HERE/compare_chaos.py" "$HERE/baseline/chaos-stock.json" "$REPORT/chaos.json"
fi
check audit nothing_left
[ -n "$STOCK" ] || check evidence evidence
exit $failed
