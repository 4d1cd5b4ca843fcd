"""Benchmarks, run by hand; see CONTRIBUTING.md."""

import os

os.environ["BAYES_ISA_CACHE"] = "off"  # what is measured is made here and now
