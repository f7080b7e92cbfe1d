"""What every wing knows: errors, files, what a run is, tasks and benchmarks, and the typed files where writing and reading meet."""
