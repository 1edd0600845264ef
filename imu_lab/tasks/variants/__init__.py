"""Tasks around tasks: the same problem with other examples."""
