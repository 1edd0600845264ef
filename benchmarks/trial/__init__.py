"""The trial: does influence pay? Every arm on every task, at equal forgetting and equal steps; ``make trial``."""
