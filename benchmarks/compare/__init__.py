"""Methods beside those that they claim to beat: the same budget of settings, equal forgetting, several seeds, one command."""
