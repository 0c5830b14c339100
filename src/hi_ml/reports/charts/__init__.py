"""Tables in, figures out: one style, nothing computed."""
