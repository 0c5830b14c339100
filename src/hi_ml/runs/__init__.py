"""A trained task on disk and on screen; nothing here is measured, all of it is laid out."""
