"""A picture file to a larger one: the compiled network, its cache, and exact tiles through it."""
