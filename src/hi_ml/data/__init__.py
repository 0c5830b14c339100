"""From any source to admissions: typed, checked, grouped, nothing private."""
