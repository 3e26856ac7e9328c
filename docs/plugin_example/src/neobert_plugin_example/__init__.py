"""An example of a distribution with plugins for neobert."""
