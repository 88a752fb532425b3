"""One file per place where verdicts go."""
