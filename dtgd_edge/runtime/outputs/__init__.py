"""One file per way to a plant's controller or network."""
