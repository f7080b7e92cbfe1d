"""The check of a model before its run, against a second chain that shares no code with the first."""
