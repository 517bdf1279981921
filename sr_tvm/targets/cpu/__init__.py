"""Processors with vectors: this machine and Android phones."""
