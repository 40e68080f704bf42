"""Proof that nothing accepted is lost, doubled or left behind: programs are hit at random while orders are placed."""
