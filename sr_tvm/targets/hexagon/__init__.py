"""Qualcomm's DSP."""
