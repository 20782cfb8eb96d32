"""Generated from `proto/kraftpy/pb/*.proto`; never edited by hand."""
