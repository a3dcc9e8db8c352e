"""Word of a job's end, carried to the address that its caller named: signed, tried again, never lost."""
