"""Everything a reader sees; nothing is computed here."""
