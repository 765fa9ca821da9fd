#!/bin/sh
# Makes the environment of an installation out of a folder with wheels, without any network.
#
#   venv.sh make PREFIX FOLDER PYTHON     PREFIX/venvs/STAMP, and PREFIX/venv a link to it
#   venv.sh prune PREFIX                  remove those that the link does not name
#
# FOLDER has wheels/ and requirements.lock. An environment that was made whole is kept;
# a half-made one is made anew; the link changes at once or not at all.
set -eu
# Readable for the user of the service, whatever the caller's umask is.
umask 022

fail() {
    echo "venv.sh: $1" >&2
    echo "  remedy: $2" >&2
    exit 1
}

prefix=$2
mkdir -p "$prefix/venvs"
if command -v flock >/dev/null 2>&1; then
    exec 9>"$prefix/.lock"
    flock -w 300 9 || fail "another installation in $prefix runs" "wait for it, then start again"
fi

case $1 in
make)
    folder=$3
    python=$4
    stamp=$(cd "$folder" && cat requirements.lock wheels/cloud_resource_optimizer-*.whl | sha256sum | cut -c1-12)
    stamp=$stamp-$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    new=$prefix/venvs/$stamp
    if [ ! -e "$new/.complete" ]; then
        rm -rf "$new"
        # Some distributions ship venv without pip; the wheel of pip is as good.
        "$python" -m venv --without-pip "$new" ||
            fail "$python cannot make an environment in $new" \
                "see the message above; its standard library must have the module venv"
        for own in "$folder"/wheels/pip-*.whl; do pip=$own/pip; done
        PIP_CONFIG_FILE=/dev/null
        export PIP_CONFIG_FILE
        set -- --no-index --no-cache-dir --disable-pip-version-check --quiet --root-user-action ignore
        "$new/bin/python" -I "$pip" --isolated install "$@" --require-hashes --only-binary :all: \
            --find-links "$folder/wheels" -r "$folder/requirements.lock" ||
            fail "cannot install the wheels of $folder" "see the message above; is there room in $prefix?"
        "$new/bin/python" -I "$pip" --isolated install "$@" --no-deps \
            "$folder"/wheels/cloud_resource_optimizer-*.whl ||
            fail "cannot install the program itself" "see the message above; is there room in $prefix?"
        "$new/bin/optimizer" --version >/dev/null ||
            fail "what was installed in $new does not start" "see the message above"
        : >"$new/.complete"
        # A link to what a power loss has emptied would be worse than none.
        sync
        echo "changed: $new"
    fi
    if [ "$(readlink "$prefix/venv" 2>/dev/null || true)" != "venvs/$stamp" ]; then
        ln -sfn "venvs/$stamp" "$prefix/.venv.new"
        mv -T "$prefix/.venv.new" "$prefix/venv"
        echo "changed: $prefix/venv -> venvs/$stamp"
    fi
    ;;
prune)
    kept=$(readlink "$prefix/venv" 2>/dev/null || true)
    [ -n "$kept" ] || exit 0
    for old in "$prefix"/venvs/*; do
        [ -d "$old" ] || continue
        [ "$old" = "$prefix/$kept" ] || {
            rm -rf "$old"
            echo "removed: $old"
        }
    done
    ;;
*)
    echo "venv.sh: unknown command '$1'" >&2
    exit 2
    ;;
esac
