"""The recovery kit: one encrypted file, and a page for the safe, with what a person needs when all else is gone."""
