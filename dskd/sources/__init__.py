"""Makes artifacts/sources: what a run is made of, fetched, verified and unpacked."""
