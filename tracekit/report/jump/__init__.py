"""What crossed at a jump: handed over, preserved, taken up, left running."""
