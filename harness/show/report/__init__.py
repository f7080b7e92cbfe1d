"""What runs and published results look like beside each other: one page that needs nothing but itself, its charts, a LaTeX table."""
