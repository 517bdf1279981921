"""The shipped architectures and weights, as package data; README.md says how each was made and what it scores."""
