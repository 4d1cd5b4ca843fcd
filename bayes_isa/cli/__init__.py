"""The command `bayes-isa`.

app        one function per verb
console    errors, warnings and results as a user reads them; exit codes
progress   how far a long step has come, on stderr
inputs     DATA and option values turned into objects
tables     results as text
"""

from bayes_isa.cli.app import app, main

__all__ = ["app", "main"]
