"""Genetic auto-tuning on top of MetaSchedule."""
