"""The proof that the storage holds what the design needs, before anything is written."""
