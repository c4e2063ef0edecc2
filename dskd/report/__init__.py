"""Makes reports/metrics.json and the pages: intervals, tests, tables, pictures and sentences."""
