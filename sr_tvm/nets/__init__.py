"""Plain torch modules of the networks we compile."""
