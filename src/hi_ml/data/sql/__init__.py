"""Tables that are added up where they lie: in files, in a database, on a cluster."""
