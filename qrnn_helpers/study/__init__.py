"""The book's stored runs: a module for the companion of each chapter, imported as it is."""
