"""Pictures in, larger pictures out: files, exact tiles, the compiled network."""
