"""Five claims about a table of admissions, one file each: stated, tested, and given a verdict."""
