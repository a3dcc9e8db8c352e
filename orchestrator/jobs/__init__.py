"""Jobs: one run of a widget, and the states that it goes through."""
