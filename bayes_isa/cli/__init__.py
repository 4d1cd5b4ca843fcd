"""The command `bayes-isa`.

app        one function per verb
console    errors, warnings and results as a user reads them; exit codes
fitting    the steps of `fit`
comparing  the steps of the verbs that use a fit
progress   how far a long step has come, on stderr
inputs     DATA and option values turned into objects
tables     results as text
"""

from bayes_isa.cli.app import app, main

__all__ = ["app", "main"]
