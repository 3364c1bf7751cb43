#!/bin/sh
# Exports with the real packages, imports with soma, compares with ONNX
# Runtime. They are installed from PyPI into a virtual environment, once for
# each requirements file. Ends with "N passed, N failed".
#
#     run.sh SOMA FOLDER    FOLDER keeps the environment and the files
set -eu
cd "$(dirname "$0")/../.."
soma=$1
venv=$2/venv
files=$2/files
here=tests/formats
python=$venv/bin/python

# Compiled when it is first used, which of so much is little.
export PYTHONPYCACHEPREFIX="$PWD/$2/cache"

if ! cat $here/*.txt $here/no_cuda.py | cmp -s - "$venv/installed"; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$python" -m pip download -q --no-deps -d "$venv/wheels" \
        -r $here/torch.txt &
    "$python" -m pip install -q --no-compile -r $here/requirements.txt
    wait $!
    "$python" -m pip install -q --no-compile --no-deps "$venv"/wheels/*.whl
    rm -r "$venv/wheels"
    [ "$(uname -m)" != x86_64 ] ||
        "$python" $here/no_cuda.py "$("$python" -c \
            'import sysconfig; print(sysconfig.get_path("platlib"))')"
    cat $here/*.txt $here/no_cuda.py >"$venv/installed"
fi

rm -rf "$files"
mkdir -p "$files"
quiet() { # what the exporters print matters only if one fails
    log=$files/$1.log
    shift
    "$python" "$@" >"$log" 2>&1 || {
        cat "$log"
        return 1
    }
}
quiet dynamo $here/from_torch.py "$files" dynamo &
dynamo=$!
quiet script $here/from_torch.py "$files" script
quiet sklearn $here/from_sklearn.py "$files"
quiet refused $here/refused.py "$files"
quiet keras $here/from_keras.py "$files"
quiet keras-torch $here/from_keras.py "$files" torch
wait $dynamo
exec "$python" $here/check.py "$soma" "$files"
