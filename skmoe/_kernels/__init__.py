"""Compiled leaves: arrays in, arrays out, no knowledge of the model above."""
