"""What is printed and where: the report's sections as people read them, standard streams."""
