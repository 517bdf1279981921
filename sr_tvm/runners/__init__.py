"""Where artifacts run. Every device answers run(artifact, inputs) and measure(artifact)."""
