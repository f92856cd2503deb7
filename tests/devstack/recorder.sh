#!/bin/bash
#
# tests/devstack/recorder.sh - any command of a host that devstack's own scripts call, recorded and not run
#
# test_real.py links it into a directory under the names of the commands, and lets PATH have that directory only. Each
# call is one line of $SANDBOX/calls. A command whose result counts keeps it in $SANDBOX, or prints what devstack wants.

name=${0##*/}
line="$name $*"
echo "${line//$'\n'/ }" >> "$SANDBOX/calls"
if [[ -e "$SANDBOX/fail" && "$line" == *"$(< "$SANDBOX/fail")"* ]]; then
    exit 1
fi

# The command behind options and assignments of sudo. What would change files outside of the sandbox is left alone.
function as_root {
    local argument
    local of_host='^/(bin|boot|etc|home|lib|lib64|mnt|opt|proc|root|run|sbin|srv|sys|usr|var)?(/|$)'
    while [[ "${1:-}" == -* || "${1:-}" == *=* ]]; do
        shift
    done
    case "$1" in
        rm | rmdir | mv | cp | ln | chmod | chown | install | mkdir | touch | tee | sed | find)
            for argument in "${@:2}"; do
                if [[ "$argument" != "$SANDBOX"/* && "$argument" =~ $of_host ]]; then
                    echo "$*" >> "$SANDBOX/outside"
                    exit 0
                fi
            done
            ;;
    esac
    case "$1" in
        chown) ;;
        /bin/* | /sbin/* | /usr/*) exec "$SANDBOX/bin/${1##*/}" "${@:2}" ;;
        *) exec "$@" ;;
    esac
    exit 0
}

# Units are enabled by a file in $SANDBOX/enabled and run by one in $SANDBOX/running.
function systemctl {
    local command="" now=False argument unit
    local units=()
    for argument in "$@"; do
        case "$argument" in
            --now) now=True ;;
            -*) ;;
            *) if [[ -z "$command" ]]; then command=$argument; else units+=("$argument"); fi ;;
        esac
    done
    for unit in "${units[@]}"; do
        unit=${unit%.service}
        case "$command" in
            enable) touch "$SANDBOX/enabled/$unit" ;;
            disable) rm -f "$SANDBOX/enabled/$unit"; [[ $now == "False" ]] || rm -f "$SANDBOX/running/$unit" ;;
            start | restart) touch "$SANDBOX/running/$unit" ;;
            stop) rm -f "$SANDBOX/running/$unit" ;;
            is-enabled) [[ -e "$SANDBOX/enabled/$unit" ]] || exit 1 ;;
            status | is-active) [[ -e "$SANDBOX/running/$unit" ]] || exit 3 ;;
        esac
    done
    exit 0
}

# An environment of Python has the commands of its packages.
function make_environment {
    local directory=${!#}
    local command
    mkdir -p "$directory/bin" "$directory/etc/glance"
    touch "$directory/etc/glance/rootwrap.conf"
    for command in $(< "$SANDBOX/commands"); do
        ln -sf "$SANDBOX/recorder.sh" "$directory/bin/$command"
    done
    ln -sf "$SANDBOX/bin/python3" "$directory/bin/python3"
    ln -sf "$SANDBOX/bin/python3" "$directory/bin/python"
    echo "PATH=$directory/bin:\$PATH" > "$directory/bin/activate"
    exit 0
}

# The files that devstack copies from a checkout of a project.
function make_checkout {
    local directory=$1
    local project=${1##*/}
    local file
    for file in api-paste.ini policy.json "$project/api-paste.ini" "$project/rootwrap.conf" glance-api-paste.ini \
        schema-image.json metadefs/one.json "$project.conf.sample" rootwrap.conf; do
        mkdir -p "$directory/etc/${file%/*}" "$directory/etc/$project/rootwrap.d"
        [[ "$file" == */* ]] || rmdir "$directory/etc/$file" 2> /dev/null
        echo "# $file" > "$directory/etc/$file"
    done
    touch "$directory/etc/$project/rootwrap.d/one.filters"
    mkdir -p "$directory/tools"
    touch "$directory/tools/nova-manage.bash_completion" "$directory/tools/nova.bash_completion"
    echo -e "[metadata]\nname = $project" > "$directory/setup.cfg"
}

case "$name" in
    sudo) as_root "$@" ;;
    systemctl) systemctl "$@" ;;
    rabbitmqctl) exec "$SANDBOX/broker" "$@" ;;
    virtualenv) make_environment "$@" ;;
    python | python3*)
        case "$1 $2" in
            "-m venv" | "-m virtualenv") make_environment "$@" ;;
            "-m pip" | "-m ensurepip") exit 0 ;;
        esac
        exec "$REAL_PYTHON" "$@"
        ;;
    git)
        if [[ "$*" == clone* ]]; then
            make_checkout "${!#}"
        fi
        [[ "$*" != *"show-ref"* ]] || echo "0123"
        ;;
    nova-manage)
        if [[ "$*" == *"cell_v2 list_cells"* ]]; then
            while read -r cell uuid; do
                echo "| $cell | $uuid | none:/// | mysql+pymysql://... | False |"
            done < "$SANDBOX/cells"
        fi
        ;;
    openstack)
        # Something was found or made: its id.
        case "$*" in
            *"flavor list"*) echo "ds512M m1.tiny" ;;
            *"list"* | *"create"* | *"show"* | *"issue"*) echo "0123456789abcdef0123456789abcdef" ;;
        esac
        ;;
    curl) echo 200 ;;
    mysql) echo "10.11.0" ;;
    dpkg-query | dpkg) echo "install ok installed" ;;
    a2query) exit 0 ;;
    uuidgen) echo "00000000-1111-4222-8333-444444444444" ;;
    ip) echo "2: eth0 inet 192.0.2.10/24 scope global eth0"; ;;
    lsb_release)
        case "$1" in
            -i) echo "Ubuntu" ;;
            -r) echo "24.04" ;;
            -c) echo "noble" ;;
        esac
        ;;
    pidof | killall | pgrep | lsof) exit 1 ;;
    iscsi-iname) echo "iqn.2000-01.org.example:host" ;;
    ping | ps | df) ;;
esac
exit 0
