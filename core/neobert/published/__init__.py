"""Settings files of the published NeoBERT training code, turned into recipes."""
