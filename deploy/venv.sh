#!/bin/sh
# Make the virtual environment $1 with a Python that clickloop supports; $2 names one, or is empty.
set -eu
venv=$1
wanted=${2:-}

supported() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null
}

if [ -n "$wanted" ]; then
    candidates=$wanted
else
    candidates="python3.11 python3 python3.12 python3.13 python3.14 python"
fi
for python in $candidates; do
    if supported "$python"; then
        "$python" -m venv --help >/dev/null 2>&1 || {
            echo "clickloop: $python has no venv module; install it (Debian: apt install python3-venv)" >&2
            exit 1
        }
        rm -rf "$venv"
        exec "$python" -m venv "$venv"
    fi
done
echo "clickloop: needs Python 3.11 to 3.14, found none among: $candidates; install one and name it: make PYTHON=/path/to/python3.11 ..." >&2
exit 1
