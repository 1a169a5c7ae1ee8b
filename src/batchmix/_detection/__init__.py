"""Applying a plan to what is to be found in an image: each goes where its pixels went."""
