#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Names at once all that is missing to build this package, and what brings it. Exit code 2 if any is.
#
#   check.sh PYTHON        for `pip install` of this folder with that Python
#   check.sh --wheels PYTHON   the same, where ROS 2 is to come from PyPI
#   check.sh PYTHON VENV   for `make`: that, and what the environment VENV needs; PYTHON may be empty
#   check.sh --pip PYTHON  whether that Python's pip gets packages at all
#   check.sh --owner       whether all that make has made here may be written

root=$(cd "$(dirname "$0")/.." && pwd)
temporary=${TMPDIR:-/tmp}
VENV_MB=1500 TEMPORARY_MB=1000 # what an installation takes, and some more

if [ -w "$root" ]; then # else the sources are another user's
    locked=$(find "$root"/build "$root"/*.egg-info "$root"/.venv* "$root"/.*_cache \
        -type d ! -writable 2>/dev/null | head -n 1)
    [ -z "$locked" ] || {
        echo "you may not write in $locked, as after \`sudo make\`: sudo chown -R $(id -un) '$root'" >&2
        exit 2
    }
fi
[ "$1" != --owner ] || exit 0

if [ "$1" = --pip ]; then
    folder=$(mktemp -d) || exit 2
    "$2" -m pip --disable-pip-version-check -q download --no-deps --retries 1 --timeout 20 \
        -d "$folder" wheel >"$folder/log" 2>&1
    failed=$?
    [ $failed = 0 ] || {
        grep -v "^WARNING: Location" "$folder/log" | head -n 5
        echo "pip gets no packages: check the network, and the proxy or index that" \
            "\`$2 -m pip config list\` names"
    } >&2
    rm -rf "$folder"
    [ $failed = 0 ] || exit 2
    exit 0
fi

wheels=""
if [ "$1" = --wheels ]; then wheels=yes && shift; fi
python=$1 venv=$2 missing="" command="" update=""
[ -z "$wheels$venv" ] || { [ "$(uname -sm)" = "Linux x86_64" ] && getconf GNU_LIBC_VERSION >/dev/null 2>&1; } || {
    # Whatever else is missing, to install it would not help.
    cat >&2 <<END
realtalk_ros cannot be built here from PyPI, which has ROS 2 for Linux on x86-64 with glibc only; this is $(uname -sm).
  nodes: with ROS 2 from apt, by colcon, as README.md tells ("In a ROS 2 workspace")
  \`realtalk speak\`, doctor, bench: without ROS, from the sources, as docs/troubleshooting.md tells ("On ARM")
END
    exit 2
}
lacks() { missing="$missing  $*
"; }
newer() { "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 15))' 2>/dev/null; }
enough() { # FOLDER MB: whether its disk has as much to spare
    df -Pk "$1" 2>/dev/null | { read -r _ && read -r _ _ _ free _ && [ "$free" -ge $(($2 * 1024)) ]; }
}
existing() { # the deepest folder on the way to $1 that is there
    folder=$1
    while [ ! -e "$folder" ]; do folder=$(dirname "$folder"); done
    (cd "$folder" 2>/dev/null && pwd) || echo "$folder"
}

name=python3 # of Debian's packages
if [ -n "$venv" ] && [ -x "$venv/bin/python" ]; then
    python=$venv/bin/python # what it was made of is what counts
fi
if [ -z "$python" ]; then
    for p in python3 python3.14 python3.13 python3.12 python3.11 python3.10; do
        if newer $p; then python=$p && break; fi
    done
fi
if [ -z "$python" ]; then
    have=$(python3 -c 'import platform; print(", python3 is", platform.python_version())' 2>/dev/null)
    lacks "Python 3.10 to 3.14, with venv and its header files$have"
elif ! newer "$python"; then
    version=$("$python" -c 'import platform; print(platform.python_version())' 2>/dev/null) ||
        version="is not there"
    lacks "Python 3.10 to 3.14 ($python: $version); PYTHON=python3 chooses another"
else
    system=$(command -v python3)
    case $python in python3.*) # beside the system's own, it has packages of its own
        [ "$("$python" -c 'import sys; print(sys.version)')" = \
            "$("${system:-false}" -c 'import sys; print(sys.version)' 2>/dev/null)" ] || name=$python ;;
    esac
    [ -z "$venv" ] || "$python" -c 'import venv; from ensurepip import version' 2>/dev/null ||
        "$venv/bin/python" -c 'import pip' 2>/dev/null ||
        lacks "venv and ensurepip, parts of Python ($python)"
    "$python" -c 'import os, sys, sysconfig
sys.exit(not os.path.isfile(os.path.join(sysconfig.get_config_var("INCLUDEPY"), "Python.h")))' ||
        lacks "Python.h, Python's header files ($python)"
fi
command -v "${CXX:-c++}" >/dev/null && command -v "${CC:-cc}" >/dev/null || lacks "a C and C++ compiler"
command -v make >/dev/null || command -v "${CMAKE_MAKE_PROGRAM:-ninja}" >/dev/null || lacks "make"

if [ -n "$missing" ]; then
    sudo=
    [ "$(id -u)" = 0 ] || sudo="sudo "
    if command -v apt-get >/dev/null; then
        ls /var/lib/apt/lists/*_Packages* >/dev/null 2>&1 || update="${sudo}apt update && "
        command="$update${sudo}apt install $name-venv $name-dev g++ make"
    elif command -v dnf >/dev/null; then
        command="${sudo}dnf install $name-devel gcc-c++ make"
    fi
    [ -z "$command" ] || missing="$missing  -> $command
"
fi

if [ -n "$venv" ]; then
    folder=$(existing "$venv")
    [ -w "$folder" ] || lacks "permission to write in $folder: VENV=... names another place"
    [ -x "$venv/bin/realtalk" ] || enough "$folder" $VENV_MB ||
        lacks "$VENV_MB MB of disk for $venv: make room, or name another place by VENV=..."
fi
for folder in "$root" "$root/build" "$root/realtalk_ros.egg-info"; do
    [ ! -e "$folder" ] || [ -w "$folder" ] || lacks "permission to write in $folder, where the" \
        "messages are built: copy $root to a folder of your own, and install that"
done
probe=$(mktemp 2>/dev/null) && printf '#!/bin/sh\n' >"$probe" && chmod +x "$probe" && "$probe" \
    2>/dev/null || lacks "a temporary folder in which programs may be written and run" \
    "(not $temporary): TMPDIR=... names one"
[ -z "$probe" ] || rm -f "$probe"
enough "$temporary" $TEMPORARY_MB ||
    lacks "$TEMPORARY_MB MB of disk in $temporary: make room, or name another place by TMPDIR=..."

[ -z "$missing" ] && exit 0
printf 'realtalk_ros cannot be built yet. Missing:\n%s' "$missing" >&2
exit 2
