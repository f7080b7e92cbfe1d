"""Texts to vectors: the seam of model kinds, the pool of loaded models, what vectors cost; a folder per kind and job."""
