"""The built-in plugins, one package a kind. They come through the same entry points as anybody's."""
