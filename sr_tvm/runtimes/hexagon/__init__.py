"""Native code for Hexagon: the program that runs a network in the simulator and counts what it takes."""
