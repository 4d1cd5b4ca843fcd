#!/bin/sh
# Makes the Stan environment of the peer benchmark: sh tests/benchmarks/stan/environment.sh [directory, default .venv-stan]
# httpstan 4.17.0 has wheels for Python 3.12 and 3.13 (3.11: up to 4.13.0); they need a C++17 compiler (g++) to build
# models. Choose the interpreter with PYTHON=python3.13.
set -eu
directory=${1:-.venv-stan}
"${PYTHON:-python3}" -m venv "$directory"
"$directory/bin/pip" install -q --only-binary httpstan 'pystan==3.14.0' 'httpstan==4.17.0' 'numpy>=2.1'
"$directory/bin/python" -c 'import stan, httpstan; print("httpstan", httpstan.__version__, "is ready")'
