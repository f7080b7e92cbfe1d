"""The gate: a candidate's scores beside a baseline's, two-sided, under the tolerance that was measured for that baseline."""
