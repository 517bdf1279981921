"""This machine and its processes: atomic files, checks of records, signals, child processes with a deadline."""
