"""The REST service: FastAPI over the store, with the same words and numbers as the command line."""
