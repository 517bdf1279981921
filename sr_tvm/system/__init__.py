"""This machine and its processes: child processes with a deadline, and the channel to them."""
