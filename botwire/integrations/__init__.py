"""Adapters: one module for each framework, imported by name. Nothing is imported here."""
