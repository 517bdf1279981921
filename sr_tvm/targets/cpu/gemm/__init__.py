"""Wide 3x3 convolutions, one layer at a time."""
