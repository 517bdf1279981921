"""The command line: one click command per file, thin. Heavy imports stay inside the commands."""
