"""The kind `canonical`: vectors as a pure function of the token ids, in packs or in batches of fixed shapes."""
