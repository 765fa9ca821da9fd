#!/usr/bin/env bash
# Sets up a private Python environment if needed, checks what the daemon needs,
# and runs it in the foreground. Ctrl-C releases everything.
#
#   ./start.sh                     run with config/optimizer.env or config/.env, else defaults
#   ./start.sh -- --set KEY=VALUE  everything after -- goes to `optimizer run`
#   ./start.sh --setup-only        set up and check, do not run
#   ./start.sh --install-service   as root: install it under /opt as a service of systemd
#   ./start.sh --uninstall-service [--purge]   take that away; --purge: the history too
#
# OPTIMIZER_WHEELHOUSE=DIR: packages come from that folder, not from the network.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
here=$PWD
venv=${OPTIMIZER_VENV:-$here/.venv}

say() { printf '%s\n' "$*" >&2; }
fail() {
    say "start.sh: $1"
    say "  remedy: $2"
    exit 1
}

setup_only=no
service=
purge=
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help)
            sed -n '2,11s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
            exit 0
            ;;
        --setup-only) setup_only=yes ;;
        --install-service) service=install ;;
        --uninstall-service) service=uninstall ;;
        --purge) purge=--purge ;;
        --)
            shift
            break
            ;;
        *)
            say "start.sh: unknown argument '$1'; arguments for the daemon come after --"
            exit 2
            ;;
    esac
    shift
done

if [ -n "$purge" ] && [ "$service" != uninstall ]; then
    say "start.sh: --purge goes with --uninstall-service"
    exit 2
fi
if [ -n "$service" ] && [ "$(id -u)" != 0 ]; then
    fail "only root may $service a service" "sudo ./start.sh --$service-service"
fi
prefix=/opt/cloud-resource-optimizer
if [ -n "$service" ] && [ -e /usr/lib/systemd/system/optimizer.service ]; then
    fail "a package has installed this service" "use the package manager, or remove the package first"
fi
# Two at once would take each other's files away. Nobody but root may hold this lock.
alone() {
    command -v flock >/dev/null 2>&1 || return 0
    exec 9>"$prefix/.lock"
    chmod 600 "$prefix/.lock"
    flock -n 9 || fail "another installation or removal of the service runs" "wait until it is done"
}
# What is removed only in part must not look complete: its stamp goes first.
discard() {
    rm -f "$1/.optimizer-stamp"
    rm -rf "$1"
    say "removed: $1"
}
if [ "$service" = uninstall ]; then
    [ ! -d "$prefix" ] || alone
    if [ -x "$prefix/venv/bin/optimizer" ]; then
        "$prefix/venv/bin/optimizer" service uninstall $purge
        rm -f "$prefix/venv"
    elif [ -e /etc/systemd/system/optimizer.service ]; then
        fail "the service is installed, but $prefix/venv, which removes it, is gone" \
            "./start.sh --install-service, then this again"
    elif [ ! -e "$prefix" ]; then
        say "nothing changed: there is no $prefix"
    fi
    for one in "$prefix"/venvs/*; do
        [ ! -e "$one" ] || discard "$one"
    done
    [ ! -e "$prefix" ] || discard "$prefix"
    exit 0
fi

# Where packages come from, for pip.
from=()
if [ -n "${OPTIMIZER_WHEELHOUSE:-}" ]; then
    [ -d "$OPTIMIZER_WHEELHOUSE" ] || fail "OPTIMIZER_WHEELHOUSE=$OPTIMIZER_WHEELHOUSE is no folder" \
        "name the folder with the wheels, or leave it out to use the network"
    from=(--no-index --find-links "$(cd "$OPTIMIZER_WHEELHOUSE" && pwd)")
fi

# Make an environment in $1 with the packages of the lock file.
environment() {
    "$python" -m venv --clear "$1" >&2 || fail "cannot make an environment in $1" \
        "install the venv module (Debian, Ubuntu: apt-get install python3-venv) and see that the folder is writable, or name another: OPTIMIZER_VENV=/path ./start.sh"
    "$1/bin/python" -m pip install --quiet --disable-pip-version-check ${from[@]+"${from[@]}"} \
        --require-hashes -r requirements.lock >&2 ||
        fail "cannot install the dependencies of requirements.lock" \
            "see the message above; is the disk full? A host without network needs a package mirror (pip config set global.index-url ...) or OPTIMIZER_WHEELHOUSE"
}

# The wheel of this program in the wheelhouse, if there is one.
own_wheel() {
    [ -z "${OPTIMIZER_WHEELHOUSE:-}" ] ||
        find "$OPTIMIZER_WHEELHOUSE" -name 'cloud_resource_optimizer-*.whl' | sort | tail -n 1
}

# The wheel of the wheelhouse, or of a copy of this checkout, into the environment $1.
sources="optimizer recover stressers systemd config windows setup.cfg pyproject.toml"
program() {
    local what
    what=$(own_wheel)
    copy=$(mktemp -d)
    trap 'rm -rf "$copy"' EXIT
    if [ -z "$what" ]; then
        # shellcheck disable=SC2086 # a list of words on purpose
        cp -R $sources README.md LICENSE "$copy"
        what=$copy
    fi
    "$1/bin/python" -m pip install --quiet --disable-pip-version-check --no-index --no-deps \
        --no-build-isolation "$what" >&2 || {
        rm -rf "$copy"
        fail "cannot install the program itself" "see the message above"
    }
    rm -rf "$copy"
}

# A number that stands for all that is installed from this folder.
content() {
    {
        cat requirements.lock
        "$python" -c 'import sys; print(sys.version)'
        wheel=$(own_wheel)
        if [ -n "$wheel" ]; then
            cat "$wheel"
        else
            # shellcheck disable=SC2086 # a list of words on purpose
            find $sources -type f ! -name '*.pyc' -exec cksum {} + | sort
        fi
    } | cksum | tr ' ' -
}

# 1. Python
python=
for candidate in ${PYTHON:-} python3.13 python3.12 python3.11 python3; do
    if command -v "$candidate" >/dev/null 2>&1 &&
        "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || fail "needs Python 3.11 or newer; found: $(python3 --version 2>/dev/null || echo none)" \
    "install python3.11 from your distribution, or name one: PYTHON=/path/to/python3.11 ./start.sh"
say "Python        ok: $("$python" --version 2>&1) ($(command -v "$python"))"

# The service: an environment of its own under /opt, then what `optimizer service install` does.
if [ "$service" = install ]; then
    umask 022
    mkdir -p "$prefix"
    alone
    stamp=$(content)
    new=$prefix/venvs/$stamp
    if [ "$(cat "$new/.optimizer-stamp" 2>/dev/null || true)" != "$stamp" ]; then
        say "Dependencies  setting up $new ..."
        mkdir -p "$prefix/venvs"
        environment "$new"
        program "$new"
        printf '%s' "$stamp" >"$new/.optimizer-stamp"
        say "changed: $new"
    fi
    # An installation with a broken configuration is left as it is.
    if [ -e /etc/optimizer/optimizer.env ]; then
        "$new/bin/optimizer" check-config --config /etc/optimizer/optimizer.env >/dev/null || {
            code=$?
            [ "$(readlink "$prefix/venv" || true)" = "venvs/$stamp" ] || discard "$new"
            rmdir "$prefix/venvs" 2>/dev/null && rm -f "$prefix/.lock" && rmdir "$prefix" || true
            exit "$code"
        }
    fi
    old=$(readlink "$prefix/venv" || true)
    if [ "$old" != "venvs/$stamp" ]; then
        ln -sfn "venvs/$stamp" "$prefix/venv.new"
        mv -T "$prefix/venv.new" "$prefix/venv"
        say "changed: $prefix/venv"
    fi
    "$prefix/venv/bin/optimizer" service install "$@"
    for one in "$prefix"/venvs/*; do
        [ "$one" = "$new" ] || discard "$one"
    done
    if [ -d /run/systemd/system ] && systemctl is-active --quiet optimizer; then
        for _ in $(seq 100); do
            [ ! -s /run/optimizer/status.json ] || break
            sleep 0.1
        done
        if [ -s /run/optimizer/status.json ]; then
            say "running after $SECONDS s; see: optimizer status"
        else
            say "started, but it has said nothing yet; see: journalctl -u optimizer -n 50"
        fi
    fi
    exit 0
fi

# 2. Privilege
if [ "$(id -u)" = 0 ]; then
    say "Privilege     ok: root (files in /var/lib/optimizer and /var/log/optimizer unless WORKSPACE_DIR is set)"
else
    say "Privilege     ok: plain user (files in your home; disk is held only where you may write)"
fi

# 3. Dependencies, exactly those of the lock file, in an environment of our own
stamp=$(cat requirements.lock setup.cfg | cksum)-$here-$("$python" -c 'import sys; print(sys.version)' | cksum)
if [ "$(cat "$venv/.optimizer-stamp" 2>/dev/null || true)" != "$stamp" ]; then
    say "Dependencies  setting up $venv ..."
    rm -f "$venv/.optimizer-stamp"
    environment "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . >&2 ||
        fail "cannot install the program itself" "see the message above; the checkout must be writable"
    printf '%s' "$stamp" >"$venv/.optimizer-stamp"
fi
say "Dependencies  ok: $venv"

# 4. Configuration: a file in config/ is used when nothing else is named
if [ -z "${CONFIG_DIR:-}" ] && { [ -e config/optimizer.env ] || [ -e config/.env ]; }; then
    export CONFIG_DIR=$here/config
fi
"$venv/bin/optimizer" check-config "$@" >/dev/null || {
    code=$?
    say "  remedy: mend these keys (config/optimizer.env.example explains each), then start again"
    exit "$code"
}
say "Configuration ok"

[ "$setup_only" = no ] || exit 0
exec "$venv/bin/optimizer" run "$@"
