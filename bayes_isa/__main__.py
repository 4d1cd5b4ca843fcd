"""`python -m bayes_isa` is `bayes-isa`."""

from bayes_isa.cli import main

if __name__ == "__main__":
    main()
