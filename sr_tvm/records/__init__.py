"""Tuning records on disk, and how a build finds them. They know no target: what decides is the target's own JSON."""
