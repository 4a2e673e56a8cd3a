"""The check that the storage provides what the design needs, before anything is written."""
