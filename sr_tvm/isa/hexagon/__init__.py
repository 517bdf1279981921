"""Hexagon's packets as LLVM writes them, counted without a DSP: loops, their bounds, and what would stall."""
