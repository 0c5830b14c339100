"""One file a score, or a family of one; what a module here calls ``SCORES`` is computed for the tasks of its kind."""
