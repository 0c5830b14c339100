"""Could a score be too good to be true? Probes of the columns, of the groups and of the whole pipeline."""
