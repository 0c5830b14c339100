"""From a file or a simulation to admissions: read, checked, cleaned, grouped, without anything private."""
