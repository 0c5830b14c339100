"""Where rows come from: each source hands over its columns and its rows in pieces."""
