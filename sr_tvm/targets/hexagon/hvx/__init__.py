"""Integer networks as kernels for Hexagon's vectors (HVX, 128 bytes), rows of pixels streaming through line buffers.

Four channels of a pixel lie in a 32-bit lane, 32 pixels in a vector: a tile. A row of a value is a row of tiles, and of
a tile all groups of four channels lie together. A weight register holds four bytes, those of one output and one group
of inputs, and multiplies them with a whole vector (vrmpy), so a vector of sums is one output of 32 pixels. Narrowing
the sums of four outputs gives their vector of bytes, in the same layout, with no shuffle.
"""
