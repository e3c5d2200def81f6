"""Pages of one file that load nothing: charts, the demo's page, comparisons."""
