#!/usr/bin/env bash
# engine.sh up: make sure that a container engine answers and has a Python base image. An engine that answers already is used and left
# alone; where none does, Debian's own is installed and started, and the base image made from Debian's packages if no registry gives it.
# engine.sh down: stop the engine that `up` started, and no other. What it holds stays in its folder, for the next `up`.
#
# CAVMAE_ENGINE_STATE    folder of the engine that `up` starts: images, logs, process id (default /var/tmp/cavmae-engine)
# CAVMAE_BASE_IMAGE      the base image that must be there (default python:3.11-slim-bookworm)
# CAVMAE_DOCKER_CLIENT   the docker client (default Debian's /usr/bin/docker, else the one in PATH)
# DOCKER_HOST            where the engine answers (default unix:///var/run/docker.sock)
set -euo pipefail
umask 022

state=${CAVMAE_ENGINE_STATE:-/var/tmp/cavmae-engine}
base=${CAVMAE_BASE_IMAGE:-python:3.11-slim-bookworm}
export DOCKER_HOST=${DOCKER_HOST:-unix:///var/run/docker.sock}

say() { printf 'engine: %s\n' "$*" >&2; }
fail() { say "$1"; exit "${2:-1}"; }

client() {
    local program=${CAVMAE_DOCKER_CLIENT:-/usr/bin/docker}
    [ -x "$program" ] || program=docker
    timeout "${limit:-60}" "$program" "$@"
}
answers() { limit=20 client version >/dev/null 2>&1; }
has_base() { client image inspect "$base" >/dev/null 2>&1; }

# The process that `up` started; another one that was given its number since is not it.
our_daemon() {
    local pid
    pid=$(cat "$state/dockerd.pid" 2>/dev/null) || return 1
    [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = dockerd ] || return 1
    tr '\0' '\n' <"/proc/$pid/cmdline" | grep -qxF -- "$state/data" || return 1
    echo "$pid"
}

# Runs a command whose output goes to a log, and shows now and then that it is alive.
logged() {
    local what=$1 log=$2 began=$SECONDS next=15
    shift 2
    say "$what ..."
    "$@" >"$log" 2>&1 9>&- </dev/null &
    local pid=$!
    while kill -0 "$pid" 2>/dev/null; do
        sleep 0.5
        if [ $((SECONDS - began)) -ge "$next" ]; then
            say "$what: $((SECONDS - began)) s: $(tail -n 1 "$log" | tr -d '\r' | cut -c 1-100)"
            next=$((next + 15))
        fi
    done
    wait "$pid" || { tail -n 15 "$log" >&2; fail "$what: failed; the whole log is $log"; }
    say "$what: $((SECONDS - began)) s"
}

need_debian_root() {
    [ "$(id -u)" = 0 ] || fail "$1 needs root; run this as root, or start a container engine yourself and set DOCKER_HOST" 2
    command -v apt-get >/dev/null || fail "$1 needs Debian's apt-get; start a container engine yourself and set DOCKER_HOST" 2
}

install_packages() {
    local package missing=()
    for package in "$@"; do
        dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
    done
    [ "${#missing[@]}" = 0 ] && return
    export DEBIAN_FRONTEND=noninteractive
    logged "apt-get update" "$state/apt-update.log" apt-get update
    # Debian's package would start an engine of its own, with other settings; ours is started below
    local policy=/usr/sbin/policy-rc.d ours=no
    if [ ! -e "$policy" ]; then ours=yes; printf '#!/bin/sh\nexit 101\n' >"$policy"; chmod +x "$policy"; fi
    (logged "apt-get install ${missing[*]}" "$state/apt-install.log" apt-get install -y --no-install-recommends "${missing[@]}") ||
        { [ $ours = no ] || rm -f "$policy"; exit 1; }
    [ $ours = no ] || rm -f "$policy"
}

start_daemon() {
    case $DOCKER_HOST in
    unix://*) ;;
    *) fail "no engine answers at $DOCKER_HOST, and only one on a unix:// socket can be started here; start it there, or unset DOCKER_HOST" 2 ;;
    esac
    need_debian_root "starting an engine"
    mkdir -p "$state"
    install_packages docker.io iptables ca-certificates
    if our_daemon >/dev/null; then fail "the engine of $state runs but does not answer at $DOCKER_HOST; see $state/dockerd.log"; fi
    release_mounts
    rm -f "$state/dockerd.pid"
    # containers get the host's network or none: the machine's firewall and its routes are not touched
    setsid /usr/sbin/dockerd --host "$DOCKER_HOST" --data-root "$state/data" --exec-root "$state/exec" \
        --pidfile "$state/dockerd.pid" --bridge none --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false \
        >"$state/dockerd.log" 2>&1 </dev/null 9>&- &
    local began=$SECONDS
    until answers; do
        if ! kill -0 $! 2>/dev/null || [ $((SECONDS - began)) -gt 60 ]; then
            tail -n 15 "$state/dockerd.log" >&2
            fail "the engine did not start; the whole log is $state/dockerd.log"
        fi
        sleep 0.2
    done
    say "started in $((SECONDS - began)) s, process $(cat "$state/dockerd.pid"), state in $state"
}

# What a killed engine leaves mounted would keep the next one from its own folders.
release_mounts() {
    awk -v state="$state/" 'index($2, state) == 1 { print $2 }' /proc/mounts | sort -r |
        while read -r place; do umount -l "$place" 2>/dev/null || true; done
}

make_base() {
    if limit=120 client pull "$base" >/dev/null 2>&1; then
        say "$base: from its registry"
        return
    fi
    case $base in
    python:3.*-slim-bookworm) ;;
    *) fail "no registry gives $base, and only python:3.11-slim-bookworm can be made here; load it into the engine" 2 ;;
    esac
    need_debian_root "making $base, which no registry gives,"
    mkdir -p "$state"
    install_packages debootstrap
    local root="$state/rootfs"
    rm -rf "$root"
    logged "debootstrap, a stand-in for $base" "$state/debootstrap.log" \
        debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv bookworm "$root"
    # neither the machine's names nor what only a person reads
    rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/var/log/* "$root"/etc/resolv.conf "$root"/etc/hostname \
        "$root"/usr/share/man/* "$root"/usr/share/locale/*
    find "$root/usr/share/doc" -type f ! -name copyright -delete
    : >"$root/etc/machine-id"
    ln -s python3 "$root/usr/bin/python"
    tar -C "$root" --numeric-owner --one-file-system --sort=name -c . |
        limit=300 client import --change 'ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin' --change 'ENV LANG=C.UTF-8' \
            --change 'CMD ["python3"]' --message "stand-in made by docker/engine.sh" - "$base" >/dev/null
    rm -rf "$root"
    say "$base: made from Debian's packages"
}

up() {
    if answers && has_base; then
        say "ready at $DOCKER_HOST with $base"
        return
    fi
    if [ "$(id -u)" = 0 ]; then  # of two that are called at once, one works and the other waits
        mkdir -p "$state"
        exec 9>"$state/lock"
        flock 9
    fi
    if ! answers; then
        start_daemon
    elif ! our_daemon >/dev/null; then
        say "an engine answers already at $DOCKER_HOST; it is used and left alone"
    fi
    has_base || make_base
    say "ready at $DOCKER_HOST with $base"
}

down() {
    local pid
    if ! pid=$(our_daemon); then
        say "no engine of $state runs; nothing to stop"
        return
    fi
    client ps --quiet | while read -r container; do client stop --time 5 "$container" >/dev/null 2>&1 || true; done
    kill -TERM "$pid"
    for _ in $(seq 300); do [ -e "/proc/$pid" ] || break; sleep 0.1; done
    [ ! -e "/proc/$pid" ] || fail "process $pid did not end; see $state/dockerd.log"
    release_mounts
    rm -f "$state/dockerd.pid"
    say "stopped"
}

case ${1:-} in
up) up ;;
down) down ;;
*) fail "usage: docker/engine.sh up|down" 2 ;;
esac
