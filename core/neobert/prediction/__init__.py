"""Losses that say something of each sequence, a class or a number: how good that is. Pure functions of arrays."""
