"""Runners: where artifacts and single kernels run, each answering run(artifact, inputs) and measure(artifact)."""
