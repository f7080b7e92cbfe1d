"""The vector store: a folder of shards that runs share, and the names that vectors have in it."""
