"""What learning has gained: against the declared values, change by change, and against the best in hindsight."""
