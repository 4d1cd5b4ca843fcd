#!/bin/sh
# Makes the Stan environment of the peer benchmark: sh tests/benchmarks/stan/environment.sh [directory, default .venv-stan]
# Python 3.12: httpstan 4.17.0 has wheels for 3.12 and 3.13 (for 3.11 up to 4.13.0), but what the one for 3.13 builds does
# not load in Python 3.13.0 (undefined symbol _PyThreadState_UncheckedGet). Another interpreter: PYTHON=... sh ...
# Models are built with g++ (C++17).
set -eu
directory=${1:-.venv-stan}
"${PYTHON:-python3.12}" -m venv "$directory"
"$directory/bin/pip" install -q --only-binary httpstan 'pystan==3.14.0' 'httpstan==4.17.0' 'numpy>=2.1'
"$directory/bin/python" -c 'import stan, httpstan; print("httpstan", httpstan.__version__, "is ready")'
