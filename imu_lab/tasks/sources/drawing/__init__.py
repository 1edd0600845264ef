"""How the people of the re-identification default are drawn: their looks, one figure in one pose, what cameras see."""
