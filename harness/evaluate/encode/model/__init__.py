"""The files of a SentenceTransformer: where they are, what they say, its weights in memory, its tokenizer."""
