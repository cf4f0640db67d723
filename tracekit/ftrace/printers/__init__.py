"""Events as the kernel's own text: those with a ``print fmt``, and those without."""
