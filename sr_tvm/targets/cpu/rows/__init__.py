"""The CPU's lowering: vectors along the pixels of a row, line buffers, register tiles, Winograd where it pays."""
