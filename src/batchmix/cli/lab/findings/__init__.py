"""What outcomes say: paired differences, what is beyond chance, sentences."""
