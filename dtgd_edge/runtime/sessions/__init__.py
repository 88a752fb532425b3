"""One file per backend; each owns its library."""
