"""Figures and the HTML page of a run, and the record that it is made from."""
