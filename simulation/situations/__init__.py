"""Situations worth being in, recognised from a trace: what a campaign has been through, and what it never met.

`table` names each with a sentence; `recognizer` is told every line of a trace, keeps what it has to remember of it in
`memory`, and counts. Nothing in the product knows of any of this.
"""
