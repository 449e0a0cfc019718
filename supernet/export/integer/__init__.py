"""A network as a program of integers: multiply, add, shift, compare and look up; nothing else."""
