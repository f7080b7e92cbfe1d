"""Kinds that take whole texts, and whose repeatability is measured: `reference`, `reranker`, `endpoint`."""
