"""The CPU's lowering: vectors along the pixels of a row, rings of rows, register tiles, Winograd where it pays."""
