"""neobert as a library: `run` trains a recipe, `load` opens what a run has left. `neobert` has both names."""
