"""From a model to an artifact: load, optimise, schedule, lower, link."""
