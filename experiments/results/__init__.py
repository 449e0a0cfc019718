"""The headline claims, the benchmarks that test them, and the page that tells what these found."""
