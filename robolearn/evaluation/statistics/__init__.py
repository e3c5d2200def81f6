"""What was found and what it is worth: results, outcomes, intervals, paired tests, comparisons, figures."""
