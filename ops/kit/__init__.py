"""The recovery kit: one encrypted file and a page to print, with what a person needs if everything else is gone."""
