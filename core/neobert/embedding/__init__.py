"""How good embeddings are: rankings, correlations, geometry, a linear probe. Pure functions of arrays.

Nothing here knows a model, a recipe or a file; `neobert.training` and `neobert.evaluation` bring those.
"""
