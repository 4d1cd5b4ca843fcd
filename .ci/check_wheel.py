"""Fail unless a wheel holds all it needs to work without the source tree."""

import sys
import zipfile

NEEDED = (
    "bayes_isa/py.typed",
    "bayes_isa/report/templates/report.html.j2",
    "bayes_isa/_priors/weakly_informative.toml",
    "bayes_isa/_priors/published_2023.toml",
    *(f"bayes_isa/data/virtual_rrmm/{table}.csv" for table in ("patients", "doses", "mprotein", "pfs")),
    "bayes_isa/data/virtual_rrmm/truth.json",
    "bayes_isa/data/virtual_rrmm/truth_individual.csv",
)

names = set(zipfile.ZipFile(sys.argv[1]).namelist())
missing = [name for name in NEEDED if name not in names]
strays = [name for name in names if not name.startswith(("bayes_isa/", "bayes_isa-"))]
if missing or strays:
    sys.exit(f"missing from the wheel: {missing}; not part of the package: {strays}")
print(f"{len(names)} files, nothing missing")
