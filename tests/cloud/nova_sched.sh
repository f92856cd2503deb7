# Sourced: the services of nova_sched in a cloud, as functions.
SCHED=$NOVA_SCHED_BIN
STREAMS=rabbit://lab:lab@127.0.0.1:$RABBIT/   # cell0's; a cell's has the name of the vhost behind it

nova_sched_conf() {  # the configuration; COMMON are the options that name it
  local c
  mkdir -p "$CLOUD_DIR/nova_sched/placement"
  render nova_sched.conf nova_sched.conf
  COMMON="--config-file $ETC/nova_sched.conf"
  for c in $CELLS; do
    render nova_sched-cell.conf nova_sched-$c.conf "$c" "" \
      "$($SQL -N -e "select uuid from nova_api.cell_mappings where name = '$c'")"
    render nova_sched-tap.conf nova_sched-tap-$c.conf "$c"
    COMMON="$COMMON --config-file $ETC/nova_sched-$c.conf"
  done
  render nova_sched-placement.conf nova_sched-placement.conf
  cat "$ETC/authtoken" >> "$ETC/nova_sched-placement.conf"
}
create_logs() {
  local c
  "$SCHED/nova-sched" create-log cell0 "$STREAMS?stream=nova_sched.cell0"
  for c in $CELLS; do "$SCHED/nova-sched" create-log "$c" "$STREAMS$c?stream=nova_sched.$c"; done
}
conductors_up() {
  local c
  for c in $CELLS; do
    start nova_sched-conductor-$c "$SCHED/nova-sched-conductor" $COMMON --config-file "$ETC/nova_sched-tap-$c.conf" \
      --level cell --cell "$c" --log-file "$LOG/nova_sched-conductor-$c.log"
  done
}
schedulers_up() {    # schedulers_up [TOPIC]
  local n
  for n in $(seq "$CLOUD_SCHEDULERS"); do
    printf '[scheduler]\nname = scheduler-%s\nrpc_topic = %s\n' "$n" "${1:-scheduler}" > "$ETC/nova_sched-scheduler-$n.conf"
    start scheduler-$n "$SCHED/nova-sched-scheduler" $COMMON --config-file "$ETC/nova_sched-scheduler-$n.conf" \
      --log-file "$LOG/nova_sched-scheduler-$n.log"
  done
}
placement_worker() { # placement_worker NAME PORT CELLS
  printf '[placement_api]\nbind_port = %s\ncells = %s\n' "$2" "$3" > "$ETC/nova_sched-$1.conf"
  start "$1" "$SCHED/nova-sched-placement" $COMMON --config-file "$ETC/nova_sched-placement.conf" \
    --config-file "$ETC/nova_sched-$1.conf" --log-file "$LOG/nova_sched-$1.log"
}
endpoints_up() {     # endpoints_up PORT: that of the region, and with several cells one per cell
  local n c
  for n in $(seq "$CLOUD_WORKERS"); do
    placement_worker placement-$n "$1" "$(echo $CELLS | tr ' ' ,)"
    ! several_cells || for c in $CELLS; do placement_worker placement-$c-$n "$(cell_port "$c")" "$c"; done
  done
}
logs() {             # the options that name the logs, for commands
  local c
  echo "--log cell0=$STREAMS?stream=nova_sched.cell0"
  for c in $CELLS; do echo "--log $c=$STREAMS$c?stream=nova_sched.$c"; done
}
