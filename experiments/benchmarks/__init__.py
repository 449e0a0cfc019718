"""Benchmarks, one a file, run by `bitfront bench NAME`."""
