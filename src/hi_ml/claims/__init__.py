"""What people say of tables of admissions, one file a claim: stated, tested, and given a verdict."""
