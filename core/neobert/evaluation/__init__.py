"""``neobert-run --evaluate``: any folder with an encoder, on tasks in local files, beside simple baselines."""
