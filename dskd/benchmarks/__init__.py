"""Makes artifacts/benchmarks: public test sets in one form, and the prompts that ask them."""
