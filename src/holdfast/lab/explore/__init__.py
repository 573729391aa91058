"""Small and whole: every way in which a few real cores can go on from one start, within bounds, each state once."""
