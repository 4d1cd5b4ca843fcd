"""Data of a trial: read, checked, written, and turned into covariates.

trial       Trial, the frozen result
build       trial_from_tables: DataFrames -> Trial
csv_files   read_trial, write_trial: a directory of four CSV files
nonmem      read_nonmem, write_nonmem: one event file
covariates  design matrices
checks/     every check, with file, row and remedy
schema      the columns and their units
"""

from bayes_isa.data.build import trial_from_tables
from bayes_isa.data.checks import find_problems
from bayes_isa.data.covariates import (
    BINARY,
    CONTINUOUS,
    PUBLISHED_COVARIATES,
    Covariate,
    available_covariates,
    design_matrix,
)
from bayes_isa.data.csv_files import read_trial, write_trial
from bayes_isa.data.nonmem import read_nonmem
from bayes_isa.data.nonmem_write import write_nonmem
from bayes_isa.data.trial import Trial

__all__ = [
    "BINARY",
    "CONTINUOUS",
    "PUBLISHED_COVARIATES",
    "Covariate",
    "Trial",
    "available_covariates",
    "design_matrix",
    "find_problems",
    "read_nonmem",
    "read_trial",
    "trial_from_tables",
    "write_nonmem",
    "write_trial",
]
