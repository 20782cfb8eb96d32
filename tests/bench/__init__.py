"""The parts of benchmarks that conclude something: what is read, compared and shown; and one that runs through."""
