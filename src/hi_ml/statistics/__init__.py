"""Arrays in, numbers and tables out: the statistics, free of files and configuration."""
