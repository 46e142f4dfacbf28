"""Models: adapters, formats, grammars, the catalogue and the store."""
