"""The controller: decides what changes in the metadata. Pure, except for `shell`."""
