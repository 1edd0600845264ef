"""What the notebooks ask of their readers: exercises whose answers are worked out here, and predictions to enter."""
