"""Each file asks a question and prints a table; figures go into BENCHMARKS.md."""
