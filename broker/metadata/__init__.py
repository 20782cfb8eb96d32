"""Metadata records and the immutable image that they build."""
