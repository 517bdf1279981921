"""The compiler passes, one per file, and the numbered list of phases that runs them."""
