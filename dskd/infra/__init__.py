"""What every room uses: whole outputs, hashes, randomness, arithmetic, processes, notebooks and pages."""
