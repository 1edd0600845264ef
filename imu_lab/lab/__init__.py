"""One task and one original model: the verbs, and everything that makes runs."""
